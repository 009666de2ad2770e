// What runs when there is no configuration file; `waystation config default` prints it as a file to begin with.

/** Phones on 8087 (plain) and 8089 (TLS), federation on 9001 and 9000, the status page for this computer only. */
export const DEFAULT_CONFIG = `# Waystation configuration. What is commented out shows the default, or an example.
# Check it with "waystation check FILE"; a running relay reads it again on SIGHUP.
version: 1

# What peers call this box. Default: its host name.
# name: relay-a

# Folder for keys and state. The environment variable WAYSTATION_DATA wins over it.
# data: /var/lib/waystation

# Status page and API: "listen" to look at, over plain HTTP; "tls" to log in and change things. 0.0.0.0:8443 is reachable
# from other machines; "listen_from" and "tls_from" say from which.
api:
  listen: 127.0.0.1:8080
  tls: 127.0.0.1:8443
#  tls_from: [10.0.0.0/8]
#  enroll: 0.0.0.0:8446 # where phones may enrol with a one-time code; default: nowhere

log:
  level: info # trace, debug, info, warn, error, fatal, silent

# Who may federate with this box: files or folders of CA certificates, or the SHA-256 of a certificate.
# File names are relative to this file. Empty: nobody but those a link names itself.
trust:
#  - hq-ca.pem
#  - "SHA256:0123456789abcdef..."

# Names and addresses in this box's certificates. Default: found by itself.
# hosts: [relay-a.local, 10.0.0.5]

# What waits for one peer while its connection is slow or away: the oldest of the least urgent is dropped first.
limits:
  queue:
    events: 4096
    bytes: 4194304
  # Alerts, chat, tasking and markers that wait for a federate or relay are on disk as well, for so long and so much of each:
  # the oldest marker is dropped first.
  outbox:
    bytes: 10000000
    hours: 24

# What other relays may ask of this one beyond its health, status, peers, units and links: paths that local HTTP services
# answer. Here "waystation node get THIS-RELAY /iot/devices" at the peer called hq reads http://127.0.0.1:8123/api/devices.
# resources:
#   - path: /iot
#     to: http://127.0.0.1:8123/api
#     methods: [GET]
#     peers: [hq]

# Tell an MQTT 5 broker (Home Assistant finds the box there by itself) how this box does. More: the README.
# telemetry:
#   mqtt:
#     connect: broker.local:1883
#     username: box
#     password_file: mqtt.password

# Keep the latest events on disk (packed, the oldest go), to be looked at, exported and replayed: see the README.
# recorder:
#   enabled: true
#   bytes: 67108864

links:
  # Phones and other clients, plain TCP: for networks that are safe by themselves.
  - name: phones
    kind: cot
    listen: 8087

  # The same over TLS, for clients with a certificate of this box.
  - name: phones-tls
    kind: cot
    listen: 8089
    tls: true

  # TAK servers and other relays that dial this one. Let them in under "trust" above.
  - name: federation
    kind: fed2
    listen: [9001, 9000]

  # On the same ports the older federation (v1), for the same peers: who does not ask for v2 there speaks v1.
  - name: federation-v1
    kind: fed1
    beside: federation

  # A FreeTAKServer knows v1 only, never dials again once it failed, and lets in whoever reaches it: dial it, through a VPN.
  # - name: fts
  #   kind: fed1
  #   connect: fts.example.org:9000
  #   profile: freetakserver

  # Dial a TAK server, and let only friendly units and no data packages cross.
  # - name: hq
  #   kind: fed2
  #   connect: tak.example.org:9001
  #   policy:
  #     in: true
  #     out: true
  #     dp_in: false
  #     dp_out: false
  #     allow_types: [a-f-]
  #     block_types: [] # what sensors keep reporting (b-m-p-s-p-, b-d-), unless something is said of types
  #     groups_in: []
  #     groups_out: []
  #     max_hops: -1
`;
