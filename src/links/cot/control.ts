// Reads the messages of the streaming protocol that carry more than their type (protocol.txt, "TakControl").

/** `TakProtocolSupport@version` of an offer (t-x-takp-v) or `TakRequest@version` of a request (t-x-takp-q); there may be several. */
export function takpVersions(frame: Buffer): readonly number[] {
  const tags = frame
    .toString('latin1')
    .matchAll(/<Tak(?:ProtocolSupport|Request)\s[^<>]*?\bversion\s*=\s*["'](\d{1,4})["']/g);
  return Array.from(tags, (tag) => Number(tag[1]));
}

/** `TakResponse@status` of an answer (t-x-takp-r). */
export function takpAccepted(frame: Buffer): boolean {
  return /<TakResponse\s[^<>]*?\bstatus\s*=\s*["'](?:true|1)["']/i.test(frame.toString('latin1'));
}
