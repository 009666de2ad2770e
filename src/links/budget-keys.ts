// The keys of a link's `budget` section: what the line may cost. A profile stands for the figures of its kind of line; what is
// written beside it wins.
import * as z from 'zod';
import { type Budget, PROFILE_BUDGETS, PROFILES } from '../core/budget.ts';

/** The slowest modem there is (STANAG 4539 goes down to 75 bit/s), and more than any port takes. */
const LEAST_RATE = 75;
const MOST_RATE = 100_000_000_000;
/** Fewer bytes than this are not one message. */
const LEAST_PER_DAY = 10_000;
const MOST_PER_DAY = 1_000_000_000_000_000;

/** Strict; what is left out is the profile's. */
export const budgetKeys = z
  .strictObject({
    profile: z.enum(PROFILES).default('lan').describe('Kind of line: sets the other keys of budget to what suits it.'),
    rate: z
      .int()
      .min(LEAST_RATE)
      .max(MOST_RATE)
      .optional()
      .describe('Most bits per second, all peers of the link together.'),
    per_day: z
      .int()
      .min(LEAST_PER_DAY)
      .max(MOST_PER_DAY)
      .optional()
      .describe('Most bytes a day (UTC). The last tenth is kept for alerts, chat and markers; alerts always pass.'),
    metered: z
      .boolean()
      .optional()
      .describe('Bytes cost money: positions that tell nothing new wait, even if the line is idle.'),
  })
  .transform(({ profile, rate, per_day, metered }): Budget => {
    const usual = PROFILE_BUDGETS[profile];
    return {
      profile,
      rateBps: rate ?? usual.rateBps,
      perDayBytes: per_day ?? usual.perDayBytes,
      metered: metered ?? usual.metered,
    };
  });
