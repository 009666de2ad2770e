// Wi-Fi: what a person writes into wifi.txt, and the files of the programs that do it.
import type { Box } from './box.ts';

/** The network the owner wants this box to join. */
export interface WifiClient {
  readonly ssid: string;
  /** Undefined: an open network. */
  readonly password: string | undefined;
  readonly country: string | undefined;
}

export const OWN_ADDRESS = '10.41.0.1';
const KEYS: Readonly<Record<string, keyof WifiClient>> = {
  ssid: 'ssid',
  name: 'ssid',
  password: 'password',
  passphrase: 'password',
  psk: 'password',
  key: 'password',
  country: 'country',
};
const MAX_SSID_BYTES = 32;

/** Lines `key = value`. Returns the network, or everything that is wrong, one line each. */
export function parseWifi(text: string): WifiClient | { readonly problems: readonly string[] } {
  const found = new Map<keyof WifiClient, string>();
  const problems: string[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    // A block from wpa_supplicant.conf is what many a guide tells people to write.
    if (line === '' || line.startsWith('#') || /^(?:network=\{|\})$/.test(line)) continue;
    const match = /^([A-Za-z]+)\s*[=:]\s*(.*)$/.exec(line);
    const key = KEYS[match?.[1]?.toLowerCase() ?? ''];
    if (!match || !key) problems.push(`Line ${index + 1} is none of ssid=…, password=…, country=…`);
    else if (found.has(key)) problems.push(`Line ${index + 1}: ${key} is there twice`);
    else found.set(key, match[2]!.replace(/^(["'])(.*)\1$/, '$2'));
  }
  const ssid = found.get('ssid') ?? '';
  const password = found.get('password') || undefined;
  const country = found.get('country')?.toUpperCase() || undefined;
  if (ssid === '') problems.push('There is no line ssid=NAME');
  if (Buffer.byteLength(ssid) > MAX_SSID_BYTES)
    problems.push(`The name of the network has more than ${MAX_SSID_BYTES} bytes`);
  if (password !== undefined && !/^[\x20-\x7e]{8,63}$/.test(password))
    problems.push('The password of a Wi-Fi has 8 to 63 characters, and none beyond ASCII');
  if (country !== undefined && !/^[A-Z]{2}$/.test(country))
    problems.push('country takes two letters, such as DE or US');
  return problems.length > 0 ? { problems } : { ssid, password, country };
}

/** WPA2 and WPA3, whichever the network has. The name goes as hex: it may hold anything. */
export function wpaSupplicantConf({ ssid, password, country }: WifiClient): string {
  const secret =
    password === undefined
      ? ['  key_mgmt=NONE']
      : ['  key_mgmt=WPA-PSK SAE', `  psk="${password}"`, `  sae_password="${password}"`, '  ieee80211w=1'];
  return [
    ...(country ? [`country=${country}`] : []),
    'network={',
    `  ssid=${Buffer.from(ssid).toString('hex')}`,
    '  scan_ssid=1',
    ...secret,
    '}',
    '',
  ].join('\n');
}

/** Our own Wi-Fi: WPA2 and WPA3 with the box's own passphrase. */
export function hostapdConf(box: Box, country: string | undefined): string {
  return [
    'interface=wlan0',
    'driver=nl80211',
    `ssid=${box.name}`,
    ...(country ? [`country_code=${country}`, 'ieee80211d=1'] : []),
    'hw_mode=g',
    'channel=6',
    'ieee80211n=1',
    'wmm_enabled=1',
    'auth_algs=1',
    'wpa=2',
    'wpa_key_mgmt=WPA-PSK SAE',
    'rsn_pairwise=CCMP',
    'ieee80211w=1',
    'sae_require_mfp=1',
    `wpa_passphrase=${box.wifiPassphrase}`,
    '',
  ].join('\n');
}

/** What phones of all makes ask to find out whether a Wi-Fi leads to the internet (overlays/image, waystation-captive). */
const PROBES = [
  'connectivitycheck.gstatic.com',
  'connectivitycheck.android.com',
  'clients3.google.com',
  'captive.apple.com',
  'www.msftconnecttest.com',
  'detectportal.firefox.com',
];

/** Addresses for phones on our Wi-Fi, our own name, and the probes. No router: what is not for us goes by the phone's mobile data. */
export function dnsmasqConf(box: Box): string {
  return [
    'interface=wlan0',
    'bind-dynamic',
    'except-interface=lo',
    'no-hosts',
    'no-poll',
    'user=nobody',
    'dhcp-range=10.41.0.20,10.41.0.200,1h',
    'dhcp-leasefile=/run/waystation-wifi/leases',
    'dhcp-authoritative',
    'dhcp-option=option:router',
    ...PROBES.map((name) => `address=/${name}/${OWN_ADDRESS}`),
    `address=/${box.name}.local/${OWN_ADDRESS}`,
    `address=/${box.name}/${OWN_ADDRESS}`,
    '',
  ].join('\n');
}

/** What a phone's camera reads to join. */
export function wifiQr(box: Box): string {
  return `WIFI:T:WPA;S:${box.name};P:${box.wifiPassphrase};;`;
}
