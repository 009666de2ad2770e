// Preference files and manifests as ATAK, WinTAK and iTAK import them (peers G5). Every value is escaped; what is not ASCII is
// written by number, because some of these readers assume ASCII.

type PrefValue = string | number | boolean;
export type Entries = readonly (readonly [key: string, value: PrefValue])[];

/** `preferences/preference@name/entry@key`. */
export function prefFile(sections: readonly { readonly name: string; readonly entries: Entries }[]): string {
  const body = sections.map(
    ({ name, entries }) =>
      `  <preference version="1" name="${xml(name)}">\n${entries.map(entry).join('')}  </preference>\n`,
  );
  return `<?xml version='1.0' encoding='ASCII' standalone='yes'?>\n<preferences>\n${body.join('')}</preferences>\n`;
}

function entry([key, value]: Entries[number]): string {
  const type = typeof value === 'string' ? 'String' : typeof value === 'boolean' ? 'Boolean' : 'Integer';
  return `    <entry key="${xml(key)}" class="class java.lang.${type}">${xml(String(value))}</entry>\n`;
}

/** MissionPackageManifest version 2. */
export function manifest(uid: string, name: string, files: readonly string[]): string {
  const contents = files.map((file) => `    <Content ignore="false" zipEntry="${xml(file)}"/>\n`).join('');
  return `<MissionPackageManifest version="2">
  <Configuration>
    <Parameter name="uid" value="${xml(uid)}"/>
    <Parameter name="name" value="${xml(name)}"/>
    <Parameter name="onReceiveDelete" value="true"/>
  </Configuration>
  <Contents>
${contents}  </Contents>
</MissionPackageManifest>
`;
}

const NAMED: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

/** For text and attributes. */
export function xml(text: string): string {
  return text.replace(/[&<>"']|[^\x20-\x7e]/gu, (one) => NAMED[one] ?? `&#${one.codePointAt(0)};`);
}
