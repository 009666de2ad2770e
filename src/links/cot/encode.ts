// Messages as they go out on a CoT stream. Each form is made once per message and shared by every peer that takes it.
import type { Envelope } from '../../core/message.ts';
import { scanCot, trimCot } from '../../wire/cot.ts';
import { withFlowTag } from '../../wire/cot-write.ts';
import { asTak, asXml, memo } from '../../wire/encode.ts';
import { frameTak, takFromXml } from '../../wire/tak.ts';

export interface Encoding {
  readonly format: 'xml' | 'tak';
  /** Name of the flow tag to leave on events; '' for none. */
  readonly flowTag: string;
  /** XML leaves without a declaration in front; with a flow tag it always does. */
  readonly undeclared: boolean;
}

/** The frame for one event, or for the notice that a contact left. */
export function encodeFor(envelope: Envelope, { format, flowTag, undeclared }: Encoding, nowMs: number): Buffer {
  if (format === 'xml' && flowTag) return taggedXml(envelope, flowTag, nowMs);
  if (format === 'xml') return undeclared ? trimCot(asXml(envelope)) : asXml(envelope);
  return memo(envelope, `cot-frame ${flowTag}`, () => frameTak(takOf(envelope, flowTag, nowMs)));
}

function takOf(envelope: Envelope, flowTag: string, nowMs: number): Buffer {
  if (!flowTag) return asTak(envelope);
  const xml = taggedXml(envelope, flowTag, nowMs);
  return takFromXml(xml, scanCot(xml));
}

function taggedXml(envelope: Envelope, flowTag: string, nowMs: number): Buffer {
  return memo(envelope, `cot-xml ${flowTag}`, () => withFlowTag(asXml(envelope), flowTag, nowMs));
}
