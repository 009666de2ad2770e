// CoT streams keep the contract of a link in TAK protocol 1 and over TLS too.
import { describeLink } from '../contract.ts';
import { agreed, away, pair } from './pair.ts';

describeLink('cot in TAK protocol 1', pair({}, {}, agreed));
describeLink('cot over TLS', pair({ tls: { trust: [away.ca.certPem] } }, { tls: true }, agreed));
