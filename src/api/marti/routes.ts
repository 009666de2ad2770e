// The part of TAK Server's HTTP interface ("Marti") that phones use: bring, look for and fetch files; who is there.
import type { ServerResponse } from 'node:http';
import { FileRefusal } from '../../files/refusal.ts';
import { isHash, type StoredFile } from '../../files/shelf.ts';
import { json } from '../http.ts';
import type { MartiParts, MartiRequest } from './context.ts';
import { sendFile } from './download.ts';
import { takeUpload } from './upload.ts';

/** Entries of one answer. */
const MAX_RESULTS = 500;
/** Version of the interface, as TAK Server numbers it. */
const API = '3';
const PACKAGE = 'missionpackage';

type Handler = (parts: MartiParts, asked: MartiRequest, response: ServerResponse) => Promise<void> | void;

const ROUTES: readonly (readonly [method: string, path: RegExp, handler: Handler])[] = [
  ['GET', /^\/Marti\/api\/version$/, ({ version }, _, response) => text(response, `Waystation ${version}`)],
  ['GET', /^\/Marti\/api\/version\/config$/, versionConfig],
  ['GET', /^\/Marti\/api\/clientEndPoints$/, clientEndPoints],
  ['GET', /^\/Marti\/api\/contacts\/all$/, contactsAll],
  ['GET', /^\/Marti\/api\/groups\/all$/, groupsAll],
  ['POST', /^\/Marti\/sync\/missionupload$/, missionUpload],
  ['GET', /^\/Marti\/sync\/missionquery$/, missionQuery],
  ['POST', /^\/Marti\/sync\/upload$/, upload],
  ['PUT', /^\/Marti\/sync\/upload$/, upload],
  ['GET', /^\/Marti\/sync\/content$/, content],
  ['GET', /^\/Marti\/sync\/search$/, search],
  ['GET', /^\/Marti\/sync\/metadata$/, metadata],
  ['GET', /^\/Marti\/api\/sync\/metadata\/([0-9a-fA-F]{64})\/tool$/, showTool],
  ['PUT', /^\/Marti\/api\/sync\/metadata\/([0-9a-fA-F]{64})\/tool$/, setTool],
];

/** @throws FileRefusal */
export async function answerMarti(parts: MartiParts, asked: MartiRequest, response: ServerResponse): Promise<void> {
  const method = asked.request.method === 'HEAD' ? 'GET' : asked.request.method;
  const fitting = ROUTES.filter(([, path]) => path.test(asked.path));
  const route = fitting.find(([of]) => of === method);
  if (route) return route[2](parts, asked, response);
  if (fitting.length === 0)
    return json(response, 404, { code: 'not_found', detail: 'Waystation has no such part of Marti' });
  response.setHeader('allow', fitting.map(([of]) => of).join(', '));
  json(response, 405, { code: 'method_not_allowed', detail: 'not by this method' });
}

// --- files -----------------------------------------------------------------------------------------------------------

async function missionUpload(parts: MartiParts, asked: MartiRequest, response: ServerResponse): Promise<void> {
  const file = await brought(parts, asked, [PACKAGE]);
  text(response, contentUrl(asked, file.hash));
}

async function upload(parts: MartiParts, asked: MartiRequest, response: ServerResponse): Promise<void> {
  json(response, 200, described(await brought(parts, asked, [])));
}

async function brought(parts: MartiParts, asked: MartiRequest, keywords: readonly string[]): Promise<StoredFile> {
  if (!parts.mayBring(asked.caller)) throw new FileRefusal('filtered', 'no files are taken from this link (dp_in)');
  for (const word of keywords) asked.query.append('keywords', word);
  const file = await takeUpload(parts, asked);
  parts.onBrought(file, asked.caller);
  return file;
}

/** 200 with its URL when the file is here already: then ATAK does not send it again. */
function missionQuery(parts: MartiParts, asked: MartiRequest, response: ServerResponse): void {
  text(response, contentUrl(asked, known(parts, asked).hash));
}

function content(parts: MartiParts, asked: MartiRequest, response: ServerResponse): Promise<void> {
  if (!parts.mayFetch(asked.caller)) throw new FileRefusal('filtered', 'no files are given to this link (dp_out)');
  return sendFile(parts.find(hashIn(asked), asked.caller), parts.transfers, asked, response);
}

function metadata(parts: MartiParts, asked: MartiRequest, response: ServerResponse): void {
  json(response, 200, described(known(parts, asked)));
}

/** Only what was made public: the rest is for those who were sent its hash. */
function search(parts: MartiParts, { query, caller }: MartiRequest, response: ServerResponse): void {
  const wanted = (query.get('keywords') ?? '').toLowerCase();
  const name = (query.get('name') ?? '').toLowerCase();
  const results = (parts.mayFetch(caller) ? parts.shelf.list() : [])
    .filter((file) => file.isPublic && parts.mayKnow(file, caller))
    .filter(({ keywords }) => wanted === '' || keywords.some((keyword) => keyword.toLowerCase() === wanted))
    .filter((file) => file.name.toLowerCase().includes(name))
    .slice(0, MAX_RESULTS)
    .map(described);
  json(response, 200, { resultCount: results.length, results });
}

function showTool(parts: MartiParts, asked: MartiRequest, response: ServerResponse): void {
  text(response, known(parts, asked).isPublic ? 'public' : 'private');
}

/** ATAK says "public" of what it uploads for all, "private" of what it sends to somebody. Only who brought a file may publish it. */
async function setTool(parts: MartiParts, asked: MartiRequest, response: ServerResponse): Promise<void> {
  const { hash, uploader } = known(parts, asked);
  if (uploader !== asked.caller.name) throw new FileRefusal('filtered', 'only who brought a file may publish it');
  const word = await shortBody(asked);
  if (word !== 'public' && word !== 'private')
    throw new FileRefusal('bad_request', 'the body is "public" or "private"');
  parts.shelf.setPublic(hash, word === 'public');
  text(response, '');
}

async function shortBody({ request }: MartiRequest): Promise<string> {
  let body = '';
  for await (const chunk of request) {
    body += String(chunk);
    if (body.length > 64) break;
  }
  return body.trim().replaceAll('"', '');
}

function known(parts: MartiParts, asked: MartiRequest): StoredFile {
  if (!parts.mayFetch(asked.caller)) throw new FileRefusal('filtered', 'no files are given to this link (dp_out)');
  const file = parts.shelf.get(hashIn(asked));
  if (file) return file;
  throw new FileRefusal('no_such_file', 'there is no such file here');
}

function hashIn({ query, path }: MartiRequest): string {
  const given = /\/([0-9a-fA-F]{64})\/tool$/.exec(path)?.[1] ?? query.get('hash') ?? query.get('uid') ?? '';
  const hash = given.toLowerCase();
  if (!isHash(hash)) throw new FileRefusal('bad_hash', 'hash is 64 hexadecimal digits');
  return hash;
}

function contentUrl({ base }: MartiRequest, hash: string): string {
  return `${base}/Marti/sync/content?hash=${hash}`;
}

function described({ hash, name, size, mime, uploader, creatorUid, addedMs, isPublic, keywords }: StoredFile) {
  return {
    UID: hash,
    Name: name,
    Hash: hash,
    PrimaryKey: hash.slice(0, 8),
    SubmissionDateTime: new Date(addedMs).toISOString(),
    SubmissionUser: uploader,
    CreatorUid: creatorUid,
    Keywords: keywords,
    MIMEType: mime,
    Size: size,
    Tool: isPublic ? 'public' : 'private',
  };
}

// --- who is there ----------------------------------------------------------------------------------------------------

function versionConfig({ version, nodeId }: MartiParts, { base }: MartiRequest, response: ServerResponse): void {
  const data = { version: `Waystation ${version}`, api: API, hostname: new URL(base).hostname };
  json(response, 200, { version: API, type: 'ServerConfig', data, nodeId: nodeId() });
}

function clientEndPoints(parts: MartiParts, { caller }: MartiRequest, response: ServerResponse): void {
  const data = parts.contacts(caller).map(({ uid, callsign, team, role, lastMs, connected }) => ({
    ...{ uid, callsign, username: callsign, team, role },
    lastEventTime: new Date(lastMs).toISOString(),
    lastStatus: connected ? 'Connected' : 'Disconnected',
  }));
  json(response, 200, { version: API, type: 'com.bbn.marti.remote.ClientEndpoint', data, nodeId: parts.nodeId() });
}

function contactsAll(parts: MartiParts, { caller }: MartiRequest, response: ServerResponse): void {
  const list = parts.contacts(caller).map(({ uid, callsign, team, role }) => ({
    ...{ uid, callsign, team, role },
    ...{ notes: '', takv: '', filterGroups: null },
  }));
  json(response, 200, list);
}

function groupsAll(parts: MartiParts, { caller }: MartiRequest, response: ServerResponse): void {
  const data = parts.groups(caller).flatMap((name, index) =>
    ['IN', 'OUT'].map((direction) => ({
      ...{ name, direction, created: '2026-01-01', type: 'SYSTEM', bitpos: index + 2, active: true },
    })),
  );
  json(response, 200, { version: API, type: 'com.bbn.marti.remote.groups.Group', data, nodeId: parts.nodeId() });
}

function text(response: ServerResponse, body: string): void {
  const bytes = Buffer.from(body);
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8', 'content-length': bytes.length });
  response.end(bytes);
}
