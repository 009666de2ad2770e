// Federation messages as protoc encodes them, so that reader and writer are not only tested against each other. Made with
//   protoc -Isrc/wire/proto --encode=com.atakmap.<type> fig.proto < text | xxd -p
// from the text beside the bytes.

export interface Golden {
  readonly type: string;
  readonly text: string;
  readonly bytes: Buffer;
}

function golden(type: string, text: string, ...hex: string[]): Golden {
  return { type, text, bytes: Buffer.from(hex.join(''), 'hex') };
}

export const EVENT = golden(
  'FederatedEvent',
  `
event {
  sendTime: 1767225600123 startTime: 1767225600000 staleTime: 1767225675999
  lat: 48.137154 lon: -11.576124 hae: 519.5 ce: 4.25 le: 9999999
  uid: "ANDROID-359975090666199" type: "a-f-G-U-C" coordSource: "m-g"
  other: "<detail><takv os=\\"34\\" version=\\"5.5\\"/><contact endpoint=\\"*:-1:stcp\\" callsign=\\"J\\303\\244ger 1\\"/><__group role=\\"Team Lead\\" name=\\"Cyan\\"/><image type=\\"b-i-x-i\\"/></detail>"
  battery: 87 ploc: "GPS" palt: "DTED0"
  screenName: "screen" groupName: "gn" groupRole: "gr" phone: "+1"
  speed: 1.5 course: 271.25
  binary { type: IMAGE data: "\\001\\002\\377" filename: "a.jpg" timestamp: 1767225600001 description: "d" federateProvenance { federationServerId: "x" } federateHops { maxHops: 1 } }
  ptpUids: "U-1" ptpUids: "U-2" ptpCallsigns: "C-1" feedUid: "feed-1" missionNames: "M-1"
  access: "Undefined" caveat: "FOUO" releaseableTo: "NATO"
  bloads { type: "t" version: "1" data: "\\000" timestamp: 5 uuid: "u" }
}
federateGroups: "Blue" federateGroups: "Coalition"
federateProvenance { federationServerId: "tak-1" federationServerName: "TAK one" }
federateProvenance { federationServerId: "hub-1-abcd" }
federateHops { maxHops: 5 currentHops: 2 }
federateGroupHopLimits { limits { groupName: "Blue" maxHops: 3 currentHops: 2 } limits { groupName: "Coalition" maxHops: -1 currentHops: 2 } useFederateGroupHopLimits: true }
`,
  '0ab70308fbd0eab6b7331080d0eab6b73318dfa1efb6b73321ff4124438e11484029a4e194b9f92627c03100000000003c80403900000000',
  '0000114041000000e0cf1263414a17414e44524f49442d3335393937353039303636363139395209612d662d472d552d435a036d2d67629f',
  '013c64657461696c3e3c74616b76206f733d223334222076657273696f6e3d22352e35222f3e3c636f6e7461637420656e64706f696e743d',
  '222a3a2d313a73746370222063616c6c7369676e3d224ac3a46765722031222f3e3c5f5f67726f757020726f6c653d225465616d204c6561',
  '6422206e616d653d224379616e222f3e3c696d61676520747970653d22622d692d782d69222f3e3c2f64657461696c3e685772034750537a',
  '05445445443082010673637265656e8a0102676e92010267729a01022b31a101000000000000f83fa9010000000000f47040b20121080212',
  '030102ff1a05612e6a70672081d0eab6b7332a016432030a01783a020801ba0103552d31ba0103552d32c20103432d31ca0106666565642d',
  '31d201034d2d31da0109556e646566696e6564e20104464f554fea01044e41544ff2010e0a01741201311a010020052a01751a04426c7565',
  '1a09436f616c6974696f6e22100a0574616b2d31120754414b206f6e65220c0a0a6875622d312d616263642a040805100232280a0a0a0442',
  '6c7565100318020a180a09436f616c6974696f6e10ffffffffffffffffff0118021001',
);

export const CONTACT = golden(
  'FederatedEvent',
  `
contact { operation: UPDATE uid: "ANDROID-1" callsign: "VIPER" phone: "+1" sip: "sip:v" directConnect: "10.0.0.1:4242:tcp" }
federateGroups: "Blue"
federateProvenance { federationServerId: "tak-1" federationServerName: "TAK one" }
federateHops { maxHops: -1 currentHops: 1 }
`,
  '123208031209414e44524f49442d311a05564950455222022b312a057369703a76321131302e302e302e313a343234323a7463701a04426c',
  '756522100a0574616b2d31120754414b206f6e652a0d08ffffffffffffffffff011001',
);

export const ROL = golden(
  'ROL',
  `
program: "create mission\\n{\\"name\\":\\"m\\"};"
payload { type: OTHER data: "0123456789" description: "tak.server.cot.CotEventContainer" }
payload { type: OTHER data: "ab" }
federateGroups: "Blue"
federateProvenance { federationServerId: "tak-1" federationServerName: "TAK one" }
federateHops { maxHops: -1 currentHops: 1 }
`,
  '0a1c637265617465206d697373696f6e0a7b226e616d65223a226d227d3b12300801120a303132333435363738392a2074616b2e73657276',
  '65722e636f742e436f744576656e74436f6e7461696e657212060801120261621a04426c756522100a0574616b2d31120754414b206f6e65',
  '2a0d08ffffffffffffffffff011001',
);

export const GROUPS = golden(
  'FederateGroups',
  `
streamUpdate { status: SERVING }
federateGroups: "Blue" federateGroups: "Red"
federateProvenance { federationServerId: "hub-1" federationServerName: "Hub" }
federateHops { maxHops: -1 currentHops: 1 }
nestedGroups {
  federateGroups: "Red" federateGroups: "Green"
  federateProvenance { federationServerId: "tak-9" }
  federateHops { maxHops: 3 currentHops: 2 }
  nestedGroups { streamUpdate { status: NOT_SERVING } federateGroups: "Deep" }
}
`,
  '0a0208011204426c756512035265641a0c0a056875622d311203487562220d08ffffffffffffffffff0110012a2712035265641205477265',
  '656e1a070a0574616b2d392204080310022a0a0a020802120444656570',
);

export const SUBSCRIPTION = golden(
  'Subscription',
  `
identity { name: "relay" uid: "uid-1" type: FEDERATION_TAK_CLIENT serverId: "server-1" }
filter: "f"
version { major: 5 minor: 7 patch: 14 branch: "main" variant: "v" }
`,
  '0a1a0a0572656c617912057569642d3120032a087365727665722d311201661a0f08051007180e22046d61696e2a0176',
);
