// The status as anybody may see it who reaches the plain port: how things stand, but not where peers are, what certificates they
// hold, which filters are set, whose files are on their way, or what strangers at the door were told.
import type { RelayStatus } from '../core/status.ts';

export function publicStatus(status: RelayStatus): RelayStatus {
  return {
    ...status,
    appliance: undefined,
    clockFrom: undefined,
    emcon: status.emcon && { ...status.emcon, by: null },
    files: status.files && { ...status.files, transfers: [] },
    links: status.links.map(({ lastTrouble, lastRefusal: _, ...link }) => ({
      ...link,
      detail: '',
      warnings: [],
      lastTrouble: lastTrouble && { ...lastTrouble, words: lastTrouble.code.replaceAll('_', ' '), fix: '' },
    })),
    peers: status.peers.map((peer) => ({
      ...peer,
      key: peer.name,
      identity: null,
      address: null,
      trouble: peer.trouble && { ...peer.trouble, words: peer.trouble.code.replaceAll('_', ' '), fix: '' },
      lastClose: peer.lastClose && { reason: peer.lastClose.reason, words: '' },
      groups: [],
      policy: {
        ...peer.policy,
        allowTypes: [],
        blockTypes: [],
        groupsIn: [],
        groupsOut: [],
        rulesIn: [],
        rulesOut: [],
      },
    })),
    warnings: status.warnings.map((warning) => ({ ...warning, words: warning.code.replaceAll('_', ' '), fix: '' })),
  };
}
