// Two things about the whole relay, from the page: radio silence, begun and ended with one tap, and starting it anew.
import * as z from 'zod';
import { Reply, type Route, route } from '../route.ts';
import { begin, type RestartDeps } from '../routes/restart.ts';
import type { TrafficDeps } from '../routes/traffic.ts';
import { type Html, html } from './html.ts';
import { type PageDeps, page, pageQuery } from './routes.ts';
import { secretField } from './view.ts';

export interface RunningPageDeps extends PageDeps, RestartDeps, Pick<TrafficDeps, 'setEmcon'> {}

const tag = 'Page';
/** Longer than a start takes on a slow board. */
const BACK_SECONDS = 10;

export function runningRoutes(deps: RunningPageDeps): Route[] {
  return [
    route({
      method: 'POST',
      path: '/emcon',
      role: 'operator',
      tag,
      summary: 'Begins or ends radio silence, from the page',
      query: pageQuery,
      body: z.strictObject({ silent: z.enum(['true', 'false']) }),
      bodyKind: 'form',
      handle: ({ body, caller, note }) => {
        const silent = body.silent === 'true';
        note(silent ? 'radio silence begins' : 'radio silence ends');
        deps.setEmcon(silent, caller.name);
        return new Reply(303, undefined, { location: '/' });
      },
    }),
    route({
      method: 'POST',
      path: '/restart',
      role: 'admin',
      tag,
      summary: 'Starts the relay anew, from the page',
      query: pageQuery,
      body: z.strictObject({}),
      bodyKind: 'form',
      gives: 'text/html',
      handle: (call) => {
        begin(deps.restart, call.note);
        return page(
          deps,
          call,
          'Restarting',
          html`<main><h1>The relay starts anew</h1><p>Phones and peers come back by themselves; what waits for peers is kept. Log in again to change things.</p><p><a href="/">Back to the status</a>, in about ${BACK_SECONDS} seconds.</p></main>`,
        );
      },
    }),
  ];
}

export function restartForm(csrf: string): Html {
  return html`<form method="post" action="/restart">${secretField(csrf)}<p><button class="second">Restart the relay</button> <small class="muted">connections break for some seconds</small></p></form>`;
}
