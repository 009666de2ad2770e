// The one list of link kinds. Adding a protocol: its folder here, its line below, its contract test; nothing else.
// Convention: a kind that listens on TCP has the key `listen`; the configuration check looks there for clashing ports.
import { cotKind } from './cot/index.ts';
import { fed1Kind } from './fed1/index.ts';
import { fed2Kind } from './fed2/index.ts';
import { meshKind } from './mesh/index.ts';
import { mqttKind } from './mqtt/index.ts';
import { portalKind } from './portal/index.ts';
import { portalMeshKind } from './portal-mesh/index.ts';

export const LINK_KINDS = [cotKind, fed1Kind, fed2Kind, meshKind, mqttKind, portalKind, portalMeshKind] as const;
