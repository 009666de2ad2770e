// Where the box has its time from. chrony keeps the clock; waystation-clock-source.timer writes down what `chronyc -c tracking` says.

/** Names given in overlays/image/etc/chrony/chrony.conf. */
const OWN_SOURCES: Readonly<Record<string, string>> = {
  GPS: 'by GPS',
  PEER: 'by a peer relay',
};

/** @param tracking the line, comma-separated: reference id, name, …, leap status; undefined: not written yet */
export function clockWords(tracking: string | undefined): string {
  const fields = (tracking ?? '').trim().split(',');
  const [id = '', name = ''] = fields;
  const set = /^[0-9A-F]{8}$/i.test(id) && !/^(?:00000000|7F7F0101)$/i.test(id);
  if (!set || fields.at(-1) === 'Not synchronised') return 'as last known: nothing has set it since the start';
  return OWN_SOURCES[name] ?? `by the time server ${name}`;
}
