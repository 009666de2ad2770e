// CoT streams in XML keep the contract of a link.
import { describeLink } from '../contract.ts';
import { pair } from './pair.ts';

describeLink('cot in XML', pair({ protocol: 'xml' }, {}));
describeLink('cot in XML, one event per write', pair({ protocol: 'xml' }, { profile: 'opentakserver' }));
