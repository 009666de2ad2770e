// The OpenAPI 3.1 document, made from the routes and their schemas: what it says is what is checked.
import * as z from 'zod';
import { type Route, route } from './route.ts';

type Json = Record<string, unknown>;

const PROBLEM: Json = {
  type: 'object',
  description: 'Problem details (RFC 9457).',
  required: ['type', 'title', 'status', 'code', 'detail'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string', description: 'For programs: never changes its meaning.' },
    detail: { type: 'string', description: 'What is wrong, for people.' },
    fix: { type: 'string', description: 'What to do about it.' },
    errors: { type: 'array', items: { type: 'object' }, description: 'Every wrong field, or line.' },
  },
};

/** `GET /api/openapi.json`, which describes itself too. */
export function openApiRoute(routes: readonly Route[]): Route {
  let made: Json | undefined;
  const own: Route = route({
    method: 'GET',
    path: '/api/openapi.json',
    role: 'public',
    tag: 'Status',
    summary: 'This document',
    answer: z.looseObject({ openapi: z.string() }),
    handle: () => {
      made ??= openApi([...routes, own]);
      return made;
    },
  });
  return own;
}

export function openApi(routes: readonly Route[]): Json {
  const schemas: Json = { Problem: PROBLEM };
  const paths: Record<string, Json> = {};
  for (const one of routes) {
    const path = one.path.replace('+}', '}');
    paths[path] = { ...paths[path], [one.method.toLowerCase()]: operation(one, path, schemas) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Waystation',
      version: '1',
      description: 'Status and control of a Waystation relay. Refusals are problem details (RFC 9457).',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas,
      responses: {
        Problem: {
          description: 'Refused, and why.',
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
      },
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
    },
  };
}

function operation(one: Route, path: string, schemas: Json): Json {
  const { role, tag, summary, method } = one;
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  return {
    operationId: operationId(method, path),
    tags: [tag],
    summary,
    description: role === 'public' ? 'Open to everybody.' : `Needs the role ${role}.`,
    security: role === 'public' ? [{}] : [{ token: [] }],
    parameters: [
      ...names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
      ...queryParameters(one, schemas),
    ],
    ...requestBody(one, schemas),
    responses: {
      [String(one.status ?? 200)]: goodAnswer(one, schemas),
      default: { $ref: '#/components/responses/Problem' },
    },
  };
}

/** `GET /api/federation/status` as `getFederationStatus`: what generated clients call it. */
function operationId(method: string, path: string): string {
  const words = path.replace(/^\/api/, '').match(/\w+/g) ?? ['page'];
  return method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

function queryParameters({ query }: Route, schemas: Json): Json[] {
  if (!query) return [];
  const { properties = {}, required = [] } = toJson(query, 'input', schemas) as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    ...(description ? { description } : {}),
    schema,
  }));
}

function requestBody(one: Route, schemas: Json): Json {
  const kind = one.bodyKind ?? (one.body ? 'json' : 'none');
  if (kind === 'none') return {};
  const type =
    kind === 'bytes' || kind === 'file'
      ? (one.takes ?? 'application/octet-stream')
      : kind === 'form'
        ? FORM
        : 'application/json';
  const schema = one.body && kind !== 'bytes' ? toJson(one.body, 'input', schemas) : { type: 'string' };
  return { requestBody: { required: kind !== 'bytes', content: { [type]: { schema } } } };
}

const FORM = 'application/x-www-form-urlencoded';

function goodAnswer(one: Route, schemas: Json): Json {
  if (one.answer) {
    return { description: 'Done.', content: { 'application/json': { schema: toJson(one.answer, 'output', schemas) } } };
  }
  return one.gives
    ? { description: 'Done.', content: { [one.gives]: { schema: { type: 'string' } } } }
    : { description: 'Done.' };
}

/** Named schemas (`.meta({ id })`) go to the components, once. */
function toJson(schema: z.ZodType, io: 'input' | 'output', schemas: Json): Json {
  const {
    $schema: _,
    $defs,
    ...json
  } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    reused: 'inline',
  }) as Json & { $defs?: Json };
  for (const [name, one] of Object.entries($defs ?? {})) schemas[name] ??= pointed(withoutId(one as Json));
  const { id } = json;
  if (typeof id !== 'string') return pointed(json) as Json;
  schemas[id] ??= pointed(withoutId(json));
  return { $ref: `#/components/schemas/${id}` };
}

function withoutId({ id: _, ...json }: Json): Json {
  return json;
}

function pointed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(pointed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [
      key,
      key === '$ref' && typeof one === 'string' ? one.replace(/^#\/\$defs\//, '#/components/schemas/') : pointed(one),
    ]),
  );
}
