// A change of the configuration that was not made, and why.
import type { Problem } from './problem.ts';

export type ConfigRefusal =
  /** The file is not what whoever changes it has seen. */
  | 'config_changed_meanwhile'
  /** It says what it may not. */
  | 'config_bad'
  /** It may say so, but it cannot be put in force: a file it names cannot be read. */
  | 'config_not_applied'
  | 'config_not_written'
  | 'edit_by_hand'
  | 'unknown_link'
  | 'link_exists'
  | 'unknown_network'
  | 'same_network'
  | 'unknown_version';

export class ConfigRefused extends Error {
  readonly code: ConfigRefusal;
  readonly fix: string;
  readonly problems: readonly Problem[];

  constructor(code: ConfigRefusal, words: string, fix: string, problems: readonly Problem[] = []) {
    super(words);
    this.name = 'ConfigRefused';
    this.code = code;
    this.fix = fix;
    this.problems = problems;
  }
}
