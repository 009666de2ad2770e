// What a phone is to be called and to belong to: names and the values ATAK knows. Everything else is refused here, and what is
// allowed is still escaped where it is written.
import * as z from 'zod';

/** As ATAK spells them. */
export const TEAMS = [
  'White',
  'Yellow',
  'Orange',
  'Magenta',
  'Red',
  'Maroon',
  'Purple',
  'Dark Blue',
  'Blue',
  'Cyan',
  'Teal',
  'Green',
  'Dark Green',
  'Brown',
] as const;

export const ROLES = ['Team Member', 'Team Lead', 'HQ', 'Sniper', 'Medic', 'Forward Observer', 'RTO', 'K9'] as const;

/** Seconds between two reports of a phone, at the least. */
export const REPORT_SECONDS = ['5', '10', '20', '30', '60'] as const;

/** No control, format or surrogate characters, nothing but blanks. */
const words = (most: number) =>
  z
    .string()
    .trim()
    .regex(new RegExp(`^[^\\p{C}]{1,${most}}$`, 'u'), `expected 1 to ${most} characters`);

/** The phone on lists and in its certificate. */
export const phoneName = words(48);
/** Empty: the phone keeps its own. */
export const presets = z.strictObject({
  callsign: z.union([z.literal(''), words(48)]).default(''),
  team: z.union([z.literal(''), z.enum(TEAMS)]).default(''),
  role: z.union([z.literal(''), z.enum(ROLES)]).default(''),
  report: z
    .union([z.literal(''), z.enum(REPORT_SECONDS)])
    .describe('Seconds between two positions of the phone, at the least. Empty or absent: the phone keeps its own.')
    .optional(),
});
export type Presets = z.output<typeof presets>;

/** What is preset, in words; '' when nothing is. */
export function presetWords({ callsign, team, role, report }: Presets): string {
  const pace = report ? `reports every ${report} s at most` : '';
  return [callsign, team, role, pace].filter((one) => one !== '').join(', ');
}

/** For file names: letters, digits and dashes, never empty, never a path. */
export function slug(text: string, most = 24): string {
  const plain = text
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, most);
  return plain.replace(/^-+|-+$/g, '') || 'x';
}
