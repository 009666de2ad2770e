// One at a time: for work that a signal may ask for again before it is done.

/** Returns the call. Asked for while it runs, `run` runs once more after that, however often it was asked. `run` must not reject. */
export function serial(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let again = false;
  const keepRunning = async () => {
    do {
      again = false;
      await run();
    } while (again);
    running = undefined;
  };
  return () => {
    again = running !== undefined;
    running ??= keepRunning();
    return running;
  };
}
