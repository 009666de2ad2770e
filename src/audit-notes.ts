// What the relay itself writes into its audit: whom links refused, what peers asked. Part of the composition root.
import type { RemoteRequest } from './api/resources.ts';
import type { Trouble } from './links/link.ts';
import type { AuditStore } from './store/audit.ts';

type Audit = Pick<AuditStore, 'add'>;

export function noteRefusal(audit: Audit, link: string, from: string, { code, words }: Trouble): void {
  const who = 'a peer';
  audit.add({ kind: 'refused', who, from, action: 'peer_refused', target: link, outcome: code, detail: words });
}

export function noteRequest(audit: Audit, { peer, link, method, path, status }: RemoteRequest): void {
  const action = 'Federation.RemoteRequest';
  const detail = `${method} ${path}`;
  audit.add({ kind: 'request', who: peer, from: '', action, target: link, outcome: String(status), detail });
}
