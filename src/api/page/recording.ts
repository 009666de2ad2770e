// The recorder on the page: what it holds, and buttons that fetch it.
import type { RecorderStatus } from '../../core/recorder-status.ts';
import { type Route, route } from '../route.ts';
import type { RecordingDeps } from '../routes/recording.ts';
import { type Html, html } from './html.ts';
import { type PageDeps, page, pageQuery } from './routes.ts';
import { bytes, plural } from './words.ts';

export function recordingPages(deps: PageDeps & Pick<RecordingDeps, 'recorder'>): Route[] {
  return [
    route({
      method: 'GET',
      path: '/recording',
      role: 'operator',
      tag: 'Page',
      summary: 'The recorder, for people',
      query: pageQuery,
      gives: 'text/html',
      navigable: true,
      handle: (call) => page(deps, call, 'Recorder', part(deps.recorder())),
    }),
  ];
}

function part(status: RecorderStatus): Html {
  return html`<main><h1>Recorder</h1>${status.limit === 0 && OFF}${standing(status)}${(status.from !== null || status.events > 0) && FETCH}
<p><a href="/">Back to the status</a></p></main>`;
}

const OFF = html`<p><b>Nothing is recorded.</b> To keep the latest events on disk, tracks, chat and all, set in the configuration:</p><pre>recorder:
  enabled: true</pre>`;

function standing({ on, from, bytes: held, limit, events, missed }: RecorderStatus): Html {
  const since = from === null ? '' : ` It reaches back to ${from}.`;
  return html`${on && html`<p>The latest events are kept: ${bytes(held)} of ${bytes(limit)} on disk, packed; ${plural(events, 'event')} since the start.${since}</p>`}${missed > 0 && html`<p class="doubtful">${plural(missed, 'event')} could not be kept: the disk is full or slow.</p>`}${!on && from !== null && html`<p>From before there are ${bytes(held)}.${since}</p>`}`;
}

const FETCH = html`<form method="get" action="/api/recording/file"><p><label>As <select name="format"><option value="cot">CoT events, to be replayed</option><option value="gpx">GPX, tracks</option><option value="kml">KML, tracks on a time line</option></select></label> <button>Download</button></p><p><small class="muted">Whoever has the file knows where everybody was and what was said.</small></p></form>`;
