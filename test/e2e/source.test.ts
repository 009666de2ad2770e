// The main job, run from the sources.
import { test } from 'node:test';
import { SOURCE } from '../support/relay-process.ts';
import { journey } from './journey.ts';

test('phones, two relays and Federation v2, from the sources', (t) => journey(t, SOURCE));
