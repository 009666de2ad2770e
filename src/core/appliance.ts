// What a box that was started from the card image says of itself (appliance/desk.ts).

export interface ApplianceStatus {
  /** waystation-xxxx. */
  readonly name: string;
  readonly release: string;
  /** `a` or `b`: the half of the card that runs. */
  readonly slot: string;
  /** This release has not proved itself yet. */
  readonly trial: boolean;
  /** Where the time comes from, in words. */
  readonly clock: string;
  /** How the last update went, or how this one goes, in words; '' when there was none. */
  readonly update: string;
}
