// Private RSA keys. A slow board takes a second or more to find one, so a spare is made ahead, off the event loop.
import { generateKeyPair, generateKeyPairSync, type KeyObject } from 'node:crypto';

/** TAK's phones and its main TLS port know RSA only (peers G4). */
const RSA = { modulusLength: 2048 };

export class SpareKey {
  #spare: KeyObject | undefined;
  #making = false;

  /** A new key: the spare when there is one, else made while you wait. */
  take(): KeyObject {
    const key = this.#spare ?? generateKeyPairSync('rsa', RSA).privateKey;
    this.#spare = undefined;
    this.prepare();
    return key;
  }

  /** Starts making a spare unless there is one. */
  prepare(): void {
    if (this.#spare || this.#making) return;
    this.#making = true;
    generateKeyPair('rsa', RSA, (error, _publicKey, privateKey) => {
      this.#making = false;
      if (!error) this.#spare = privateKey; // without a spare, take() makes its own and meets the error itself
    });
  }
}
