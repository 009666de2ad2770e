// SETUP.txt and the screen: everything a person needs to reach this box, and what is wrong with it.
import type { Box } from './box.ts';
import { OWN_ADDRESS, type WifiClient } from './wifi.ts';

export type DataState = 'good' | 'mended' | 'full' | 'ram';

export interface SetupFacts {
  readonly version: string;
  readonly box: Box;
  readonly wifi: WifiClient | undefined;
  readonly data: DataState;
  /** Until somebody has set a password with it. */
  readonly setupCode: string | undefined;
  /** What came of the last update, if there was one. */
  readonly update: string | undefined;
  readonly errors: readonly { readonly file: string; readonly words: string }[];
}

const DATA_WORDS: Readonly<Record<DataState, string | undefined>> = {
  good: undefined,
  mended: 'The data partition was damaged and has been mended. If this happens again, replace the card.',
  full: 'The data partition was full. Caches and kept logs were dropped.',
  ram:
    'THE DATA PARTITION CANNOT BE USED. The box runs from memory with a new identity; nothing is kept. ' +
    'Replace the card, or put factory-reset.txt on it, which makes the partition anew.',
};

export function setupText({ version, box, wifi, data, setupCode, update, errors }: SetupFacts): string {
  const join = wifi ? `It joins the Wi-Fi "${wifi.ssid}". When that is not there it opens its own:` : 'Its own Wi-Fi:';
  const wrong = [DATA_WORDS[data], update, ...errors.map(({ file, words }) => `${file}: ${words}`)].filter(
    (words) => words !== undefined,
  );
  return [
    `Waystation ${version}: this box is ${box.name}`,
    '',
    `On the same network it is   ${box.name}.local`,
    join,
    `  name        ${box.name}`,
    `  passphrase  ${box.wifiPassphrase}`,
    `  this box    ${OWN_ADDRESS}`,
    '',
    'The page, unless your own waystation.yaml says otherwise:',
    `  to look     http://${box.name}.local:8080`,
    `  to change   https://${box.name}.local:8443`,
    ...(setupCode ? [`  setup code  ${setupCode}   (asked for once, to set a password)`] : []),
    '',
    'Phones connect with TLS to port 8089, federates to port 9001.',
    'For SSH put ssh-key.pub on the card; then "ssh root@ADDRESS waystation status".',
    ...(wrong.length > 0
      ? ['', 'What needs attention:', ...wrong.map((words) => `  ${words.replace(/\n/g, '\n    ')}`)]
      : []),
    '',
  ].join('\n');
}
