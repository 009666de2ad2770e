// One thing that happens to a box, from the first power-on to what must be true at the end.
import type { Lab } from '../lab.ts';

export interface Scenario {
  readonly name: string;
  readonly what: string;
  /** Rejects when something is not as it must be. `argument` is what follows the name on the command line. */
  run(lab: Lab, argument?: string): Promise<void>;
}
