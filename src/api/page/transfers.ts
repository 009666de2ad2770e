// Files of phones: what is kept here, and how far those are that are on their way.
import type { FileTransfer, TransferState } from '../../core/files-status.ts';
import type { RelayStatus } from '../../core/status.ts';
import type { Cells } from './cells.ts';
import { type Html, html } from './html.ts';
import { MARKS, type Standing } from './sentences.ts';
import { bytes, plural } from './words.ts';

/** Shown; those that go on come first. */
const MAX_SHOWN = 12;

export function transfersPart({ files }: RelayStatus, cells: Cells): Html {
  if (!files) return html`<div id="files"></div>`;
  const { transfers } = files;
  const shown = [...transfers.filter(isUnderWay), ...transfers.filter((one) => !isUnderWay(one))].slice(0, MAX_SHOWN);
  const kept = `${plural(files.files, 'file')} of phones kept, ${bytes(files.bytes)} of ${bytes(files.quota)}`;
  const offers = files.offers === 0 ? '' : `; ${files.offers} more can be fetched from other boxes`;
  return html`<section id="files" aria-labelledby="h-files"><h2 id="h-files">Files</h2><p>${cells.text('f.kept', kept + offers)}</p>${
    shown.length > 0 && html`<ul class="files">${shown.map((transfer, at) => row(transfer, `f.${at}`, cells))}</ul>`
  }${transfers.length > shown.length && html`<p class="muted">and ${plural(transfers.length - shown.length, 'more transfer')}</p>`}</section>`;
}

function isUnderWay({ state }: Pick<FileTransfer, 'state'>): boolean {
  return state === 'moving' || state === 'waiting';
}

const WORDS: Readonly<Record<TransferState, string>> = {
  moving: 'on its way',
  waiting: 'waits',
  whole: 'arrived',
  failed: 'failed',
};
const STANDINGS: Readonly<Record<TransferState, Standing>> = {
  moving: 'good',
  waiting: 'doubtful',
  whole: 'good',
  failed: 'bad',
};

function row(transfer: FileTransfer, key: string, cells: Cells): Html {
  const { hash, name, direction, peer, size, state, words } = transfer;
  const standing = STANDINGS[state];
  const label = name || `file ${hash}`;
  return html`<li><b class="${standing}">${MARKS[standing]}</b> <strong>${label}</strong> ${direction === 'in' ? 'from' : 'to'} ${peer}, ${
    state === 'whole' ? `${WORDS.whole}, ${bytes(size)}` : progress(transfer, label, key, cells)
  }${words && `: ${words}`}</li>`;
}

/** Where the size is not known a bar would lie. */
function progress({ state, size, got, rate }: FileTransfer, label: string, key: string, cells: Cells): Html {
  const part = `${bytes(got)}${size > 0 ? ` of ${bytes(size)}` : ''}${rate > 0 ? `, ${bytes(rate)}/s` : ''}`;
  return html`${WORDS[state]}, ${cells.text(`${key}.got`, part)}${
    size > 0 &&
    isUnderWay({ state }) &&
    html`<progress aria-label="${label}"${cells.attribute(`${key}.part`, 'value', Math.floor((100 * got) / size))} max="100"></progress>`
  }`;
}
