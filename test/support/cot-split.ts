// Cuts a stream of CoT events as XML into events, simply: by their end. Knows nothing of src/.

const END = '</event>';

export class CotFramer {
  readonly #onEvent: (xml: string) => void;
  #text = '';

  constructor(onEvent: (xml: string) => void) {
    this.#onEvent = onEvent;
  }

  push(text: string): void {
    this.#text += text;
    for (;;) {
      const end = this.#text.indexOf(END);
      if (end < 0) return;
      const start = this.#text.indexOf('<event');
      this.#onEvent(this.#text.slice(start, end + END.length));
      this.#text = this.#text.slice(end + END.length);
    }
  }
}
