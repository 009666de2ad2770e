// Logging in and out, the first password, tokens for programs.
import * as z from 'zod';
import { type Accounts, MAX_TOKEN_DAYS, TOKEN_ROLES } from '../access/accounts.ts';
import { MAX_PASSWORD, MIN_PASSWORD } from '../access/passwords.ts';
import { sessionCookie } from '../gate.ts';
import { Refusal } from '../refusal.ts';
import { Reply, type Route, route } from '../route.ts';

const label = z.string().regex(/^[^\p{C}]{1,64}$/u, 'expected 1 to 64 characters');
const newPassword = z.string().min(MIN_PASSWORD).max(MAX_PASSWORD);
const credentials = z.strictObject({
  username: z.string().min(1).max(64),
  password: z.string().min(1).max(MAX_PASSWORD),
});
const tokenAnswer = z.object({ token: z.string() }).meta({ id: 'Token' });

const tokenInfo = z
  .object({
    id: z.string(),
    name: z.string(),
    role: z.enum(TOKEN_ROLES),
    createdMs: z.number(),
    createdBy: z.string(),
    expiresMs: z.number().nullable(),
    lastUsedMs: z.number().nullable(),
  })
  .meta({ id: 'TokenInfo' });

export function accessRoutes(accounts: Accounts): Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/login',
      role: 'public',
      tag: 'Access',
      summary: 'User name and password give a token, good for 12 hours',
      body: credentials,
      answer: tokenAnswer,
      handle: async ({ body, caller }) => ({
        token: await accounts.login(body.username, body.password, caller.address),
      }),
    }),
    route({
      method: 'POST',
      path: '/api/setup',
      role: 'public',
      tag: 'Access',
      summary: 'Sets the first password with the setup code of this box, and logs in',
      body: z.strictObject({ code: z.string().min(1).max(64), username: label, password: newPassword }),
      answer: tokenAnswer,
      handle: async ({ body, caller, note }) => {
        const token = await accounts.setUp(body.code, body.username, body.password, caller.address);
        note(`first password set, user ${body.username}`);
        return { token };
      },
    }),
    route({
      method: 'GET',
      path: '/api/session',
      role: 'public',
      tag: 'Access',
      summary: 'Who you are here',
      answer: z
        .object({ name: z.string(), role: z.string(), by: z.string(), setUp: z.boolean(), csrf: z.string() })
        .meta({ id: 'Session' }),
      handle: ({ caller }) => {
        const { name, role, by, csrf } = caller;
        return { name, role, by, csrf, setUp: accounts.setupCode === undefined };
      },
    }),
    route({
      method: 'POST',
      path: '/api/logout',
      role: 'public',
      tag: 'Access',
      summary: 'Ends the session',
      status: 204,
      handle: ({ caller }) => {
        if (caller.by === 'session') accounts.logout(caller.credential);
        return new Reply(204, undefined, { 'set-cookie': sessionCookie('') });
      },
    }),
    route({
      method: 'POST',
      path: '/api/password',
      role: 'admin',
      tag: 'Access',
      summary: 'Changes user name and password; every session ends',
      body: z.strictObject({ username: label, password: newPassword }),
      status: 204,
      handle: async ({ body, note }) => {
        await accounts.setPassword(body.username, body.password);
        note(`password changed, user ${body.username}`);
        return new Reply(204);
      },
    }),
    route({
      method: 'POST',
      path: '/api/password/reset',
      role: 'admin',
      tag: 'Access',
      summary: 'Takes the password away; the new setup code sets another',
      answer: z.object({ setupCode: z.string() }),
      handle: ({ note }) => {
        note('password taken away, new setup code');
        return { setupCode: accounts.reset() };
      },
    }),
    route({
      method: 'GET',
      path: '/api/tokens',
      role: 'admin',
      tag: 'Access',
      summary: 'Tokens, without their secrets',
      answer: z.object({ tokens: z.array(tokenInfo) }),
      handle: () => ({ tokens: accounts.tokens() }),
    }),
    route({
      method: 'POST',
      path: '/api/tokens',
      role: 'admin',
      tag: 'Access',
      summary: 'Makes a token; its secret is told this once',
      body: z.strictObject({
        name: label,
        role: z.enum(TOKEN_ROLES).default('viewer'),
        days: z.int().min(1).max(MAX_TOKEN_DAYS).optional().describe('Good for so many days. Left out: no end.'),
      }),
      status: 201,
      answer: tokenInfo.extend({ token: z.string() }).meta({ id: 'NewToken' }),
      handle: ({ body, caller, note }) => {
        const { token, info } = accounts.createToken(body.name, { role: body.role, days: body.days, by: caller.name });
        note(`token ${info.id} "${body.name}" made, role ${body.role}`);
        return { ...info, token };
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/tokens/{id}',
      role: 'admin',
      tag: 'Access',
      summary: 'Revokes a token, at once',
      params: z.object({ id: z.string() }),
      status: 204,
      handle: ({ params, note }) => {
        if (!accounts.revokeToken(params.id)) throw new Refusal(404, 'unknown_token', 'there is no token with this id');
        note(`token ${params.id} revoked`);
        return new Reply(204);
      },
    }),
  ];
}
