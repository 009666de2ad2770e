// Starting the relay anew, where something starts it again when it ends.
import * as z from 'zod';
import { Refusal } from '../refusal.ts';
import { Reply, type Route, route } from '../route.ts';

export interface RestartDeps {
  /** Ends the relay in a moment, to be started again. Undefined: nobody would start it. */
  readonly restart: (() => void) | undefined;
}

const answer = z.object({ restarting: z.literal(true) });

export function restartRoutes({ restart }: RestartDeps): Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/restart',
      role: 'admin',
      tag: 'Status',
      summary: 'Starts the relay anew, where a service manager runs it; what waits for peers is kept',
      body: z.strictObject({}),
      status: 202,
      answer,
      handle: ({ note }) => {
        begin(restart, note);
        return new Reply(202, { restarting: true });
      },
    }),
  ];
}

/** @throws Refusal 409 where nobody would start it again */
export function begin(restart: (() => void) | undefined, note: (words: string) => void): void {
  if (!restart) {
    throw new Refusal(409, 'not_supervised', 'nobody would start the relay again', {
      fix: 'run it as a service (overlays/), which sets WAYSTATION_RESTARTS; or stop and start it by hand',
    });
  }
  note('restart asked for');
  restart();
}
