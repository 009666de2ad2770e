// Networks inside this box, on the page of federation: two of them federate by a button, each side with its own toggles.
import * as z from 'zod';
import { editYaml } from '../../config/edit.ts';
import { putNetworkPeer, removeNetworkPair } from '../../config/networks-edit.ts';
import { type Reply, type Route, route } from '../route.ts';
import type { listNetworks, NetworkDeps } from '../routes/networks.ts';
import { type Html, html } from './html.ts';
import { type PageCall, pageQuery } from './routes.ts';
import { boxes, chips, offOf, ways } from './toggles.ts';
import { rate } from './words.ts';

type Networks = Awaited<ReturnType<typeof listNetworks>>;
type OrWords = (call: PageCall, work: () => Promise<string>) => Promise<Reply>;

const name = z.string().max(32);
const ALL = { in: true, out: true, dp_in: true, dp_out: true };

export function networkForms({ desk }: NetworkDeps, orWords: OrWords): Route[] {
  const form = (path: string, summary: string) =>
    ({
      method: 'POST',
      path,
      role: 'admin',
      tag: 'Page',
      summary,
      gives: 'text/html',
      bodyKind: 'form',
      query: pageQuery,
    }) as const;
  return [
    route({
      ...form(
        '/federation/network',
        'Lets two networks of this box federate, or sets what one of them takes and gives',
      ),
      body: z.strictObject({ name, other: name, ...ways }),
      handle: (call) =>
        orWords(call, async () => {
          const { name, other, ...said } = call.body;
          const side = { ...ALL, ...offOf(said) };
          await desk.change((text) => editYaml(text, putNetworkPeer(text, name, other, side)), {
            who: call.caller.name,
          });
          call.note(`network ${name} federates with ${other}`);
          return `${name} federates with ${other}`;
        }),
    }),
    route({
      ...form('/federation/apart', 'Two networks of this box no longer federate'),
      body: z.strictObject({ name, other: name }),
      handle: (call) =>
        orWords(call, async () => {
          const { name, other } = call.body;
          await desk.change((text) => editYaml(text, removeNetworkPair(text, name, other)), { who: call.caller.name });
          call.note(`networks ${name} and ${other} no longer federate`);
          return `${name} and ${other} no longer federate`;
        }),
    }),
  ];
}

/** Nothing while the box is one network. `csrf` undefined: to look at only. */
export function networkPart(networks: Networks, csrf: Html | undefined): Html | '' {
  if (networks.length === 0) return '';
  return html`<h2>Networks of this box</h2>${networks.map((network) => {
    const { name, links, peers } = network;
    const strangers = networks.filter((other) => other.name > name && !peers.some((peer) => peer.name === other.name));
    return html`<h3>${name}</h3><p>${links.length > 0 ? links.join(', ') : 'nobody is in it now'}; ${figures(network)}</p>
${peers.map((peer) => html`${stand(peer)}${csrf && pairForms(name, peer, csrf)}`)}${csrf && strangers.map((other) => meetForm(name, other.name, csrf))}`;
  })}`;
}

function figures({ connected, in_per_second, out_per_second, events_received, events_sent }: Networks[number]): string {
  const now = `${rate(in_per_second)} events/s in, ${rate(out_per_second)} out`;
  return `${connected} connected; ${now}; ${events_received} received, ${events_sent} sent`;
}

function stand(peer: Networks[number]['peers'][number]): Html {
  return html`<p>with ${peer.name}: ${chips(peer)}; ${peer.events_received} events in, ${peer.events_forwarded} out</p>`;
}

function pairForms(name: string, peer: Networks[number]['peers'][number], csrf: Html): Html {
  const { name: other } = peer;
  return html`<form method="post" action="/federation/network">${csrf}${pair(name, other)}${boxes(`${name}-${other}`, peer)}<p><button>Set what ${name} takes and gives</button></p></form>
<form method="post" action="/federation/apart">${csrf}${pair(name, other)}<button class="second">Keep ${name} and ${other} apart</button></form>`;
}

function meetForm(name: string, other: string, csrf: Html): Html {
  const all = Object.keys(ALL).map((way) => html`<input type="hidden" name="${way}" value="on">`);
  return html`<form method="post" action="/federation/network">${csrf}${pair(name, other)}${all}<button>Let ${name} and ${other} federate</button></form>`;
}

function pair(name: string, other: string): Html {
  return html`<input type="hidden" name="name" value="${name}"><input type="hidden" name="other" value="${other}">`;
}
