// "What is wrong?" on the page: the doctor's sentence, then what was looked at. What is known is shown at once; going the way to the
// far end anew is a button.
import * as z from 'zod';
import type { Check, Diagnosis, DoctorReport, Finding } from '../../core/diagnosis.ts';
import { mayAct, type Reply, type Route, route } from '../route.ts';
import { type DoctorRouteDeps, examine } from '../routes/doctor.ts';
import type { RestartDeps } from '../routes/restart.ts';
import { type Html, html } from './html.ts';
import { type PageCall, type PageDeps, page, pageQuery } from './routes.ts';
import { restartForm } from './running.ts';
import { MARKS } from './sentences.ts';
import { secretField } from './view.ts';

export interface DoctorPageDeps extends PageDeps, DoctorRouteDeps, RestartDeps {}

const params = z.object({ link: z.string().max(64) });
const tag = 'Page';

export function doctorPageRoutes(deps: DoctorPageDeps): Route[] {
  const all = { path: '/doctor', tag, query: pageQuery, gives: 'text/html' };
  const one = { path: '/doctor/{link}', tag, params, query: pageQuery, gives: 'text/html' };
  const form = {
    body: z.strictObject({}),
    bodyKind: 'form' as const,
    role: 'operator' as const,
    method: 'POST' as const,
  };
  const look = { role: 'viewer' as const, method: 'GET' as const, navigable: true };
  return [
    route({
      ...all,
      ...look,
      summary: 'What is wrong, for people',
      handle: (call) => show(deps, call, undefined, false),
    }),
    route({
      ...one,
      ...look,
      summary: 'What is wrong with one link, for people',
      handle: (call) => show(deps, call, call.params.link, false),
    }),
    route({
      ...all,
      ...form,
      summary: 'The same, far ends tried',
      handle: (call) => show(deps, call, undefined, true),
    }),
    route({
      ...one,
      ...form,
      summary: 'The same, its far ends tried',
      handle: (call) => show(deps, call, call.params.link, true),
    }),
  ];
}

async function show(deps: DoctorPageDeps, call: PageCall, link: string | undefined, tries: boolean): Promise<Reply> {
  const report = await examine(deps, link, tries, call.signal);
  if (tries) call.note(`doctor tried ${link ?? 'all links'}: ${report.finding}`);
  const title = link === undefined ? 'What is wrong?' : `What is wrong with ${link}?`;
  return page(deps, call, title, reportPart(report, title, formFor(call, link, deps.restart !== undefined)));
}

/** For whoever may: what others are sent there is nothing to look at. */
function formFor({ caller }: PageCall, link: string | undefined, restarts: boolean): Html | undefined {
  if (!mayAct(caller.role, 'operator')) return undefined;
  const action = link === undefined ? '/doctor' : `/doctor/${encodeURIComponent(link)}`;
  return html`<form method="post" action="${action}">${secretField(caller.csrf)}<p><button>Try it now</button> <small class="muted">dials whoever is not connected; up to half a minute</small></p></form>
<form method="post" action="/bundle">${secretField(caller.csrf)}<p><button class="second">Download support bundle</button> <small class="muted">for whoever helps: status, configuration, log; secrets are taken out</small></p></form>${restarts && mayAct(caller.role, 'admin') && restartForm(caller.csrf)}`;
}

function reportPart(
  { sentence, finding, diagnoses, tried }: DoctorReport,
  title: string,
  form: Html | undefined,
): Html {
  return html`<main><h1>${title}</h1><p class="${CSS[finding]}"${finding === 'bad' && html` role="alert"`}><b>${MARKS[STANDINGS[finding]]} ${sentence}</b></p>
${form}${!tried && html`<p class="muted">This is what the relay knows without trying.</p>`}${diagnoses.map(diagnosisPart)}
<p><a href="/">Back to the status</a></p></main>`;
}

function diagnosisPart({ link, kind, checks }: Diagnosis): Html {
  const name = link === '' ? 'This box' : html`${link} <small>${kind}</small>`;
  return html`<article class="card"><h3>${name}</h3><ul class="checks">${checks.map(checkPart)}</ul></article>`;
}

function checkPart({ id, of, finding, words, fix }: Check): Html {
  const what = `${id.replaceAll('_', ' ')}${of === '' ? '' : ` (${of})`}`;
  return html`<li><b><span class="${CSS[finding]}">${MARKS[STANDINGS[finding]]}</span> ${what}:</b> ${words}${fix && html`<br><b>Fix:</b> ${fix}`}</li>`;
}

const STANDINGS = { ok: 'good', unknown: 'doubtful', warn: 'doubtful', bad: 'bad' } as const;
const CSS: Readonly<Record<Finding, string>> = { ok: 'good', unknown: 'muted', warn: 'doubtful', bad: 'bad' };
