// The box's own Wi-Fi, on simulated radios of the kernel (mac80211_hwsim): one for the box, one for a phone in a network namespace.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { ssh } from '../lab.ts';
import { powerOff, runningBox } from './boot.ts';
import type { Scenario } from './scenario.ts';

const PHONE = `
set -e
ssid=$(sed -n 's/^ssid=//p' /run/waystation/hostapd.conf)
psk=$(sed -n 's/^wpa_passphrase=//p' /run/waystation/hostapd.conf)
ip netns add phone
iw phy $(cat /sys/class/net/wlan1/phy80211/name) set netns name phone
printf 'network={\\n ssid="%s"\\n key_mgmt=SAE\\n sae_password="%s"\\n ieee80211w=2\\n}\\n' "$ssid" "$psk" >/tmp/phone.conf
ip netns exec phone wpa_supplicant -B -q -i wlan1 -c /tmp/phone.conf -Dnl80211
`;

export const wifiScenario: Scenario = {
  name: 'wifi',
  what: 'its own Wi-Fi opens by itself; a phone joins by WPA3, gets an address, finds the box by name, is led to the page',
  async run(lab) {
    const box = await runningBox(lab, 'wifi');
    const run = (command: string) => ssh(lab, box, command);
    await run('systemd-run -q --wait modprobe mac80211_hwsim radios=2'); // who comes by SSH loads no modules
    for (let tries = 0; tries < 60 && !/type AP/.test(await run('iw dev wlan0 info; true')); tries += 1)
      await sleep(2000);
    assert.match(await run('iw dev wlan0 info'), /ssid waystation-[0-9a-f]{4}[\s\S]*type AP/);
    await ssh(lab, box, 'sh -s', PHONE);
    const inPhone = (command: string) => run(`ip netns exec phone ${command}`);
    for (let tries = 0; tries < 60 && !/Connected/.test(await inPhone('iw dev wlan1 link')); tries += 1)
      await sleep(2000);
    assert.match(await inPhone('iw dev wlan1 link'), /Connected/);
    assert.match(await run('iw dev wlan0 station dump'), /authorized:\s+yes/);
    // No DHCP client stands alone in the image; busybox is one.
    await inPhone(
      "busybox udhcpc -n -q -i wlan1 -s /bin/true -t 10 2>&1 | grep -o 'lease of 10.41.0.[0-9]* obtained' > /tmp/lease",
    );
    const lease = await run('cat /tmp/lease');
    assert.match(lease, /10\.41\.0\.\d+/);
    await inPhone(`ip address add ${/10\.41\.0\.\d+/.exec(lease)![0]}/24 dev wlan1`);
    const name = (await run('hostname')).trim();
    assert.match(await inPhone(`busybox nslookup ${name}.local 10.41.0.1`), /10\.41\.0\.1/);
    const probe = await inPhone('busybox wget -S -O /dev/null http://10.41.0.1/generate_204 2>&1; true');
    assert.match(probe, /302 Found[\s\S]*10\.41\.0\.1:8080/);
    assert.match(
      await inPhone('busybox nslookup connectivitycheck.gstatic.com 10.41.0.1'),
      /Address[^\n]*10\.41\.0\.1\s*$/,
    );
    lab.log(`  ${name}: WPA3 phone joined, ${lease.trim()}`);
    assert.equal((await run('systemctl --failed --no-legend --plain')).trim(), '');
    await powerOff(lab, box);
  },
};
