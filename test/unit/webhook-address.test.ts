import { expect, test } from 'vitest';
import { readConfig } from '../../src/core/config.ts';
import { addressProblem } from '../../src/operations/webhooks/address.ts';
import { environment } from './schema/support.ts';

const problem = (url: string, env: Record<string, string> = {}) =>
  addressProblem(url, readConfig({ ...environment, ...env }));

test.each([
  'https://hooks.example.com/timestore?a=b#c',
  'https://HOOKS.Example.com',
  'https://hooks.example.com.',
  'https://hooks.example.com:443/',
  'https://bücher.example/hook',
  'https://xn--bcher-kva.example/hook',
  'https://a_b.example.co.uk/',
  'https://local.example.com/',
  'https://localhost.example.com/',
  'https://127.0.0.1.nip.example/',
  'https://internal.example/',
])('%s may be told', (url) => {
  expect(problem(url)).toBeUndefined();
});

const numbers = [
  '127.0.0.1',
  '10.0.0.1',
  '172.16.0.1',
  '192.168.0.1',
  '169.254.169.254',
  '100.64.0.1',
  '0.0.0.0',
  '0',
  // One number, fewer parts, other bases, digits of Unicode, percent signs, a dot at the end.
  '2130706433',
  '127.1',
  '017700000001',
  '0177.0.0.1',
  '0x7f000001',
  '0x7f.1',
  '0X7F.0.0.0x1',
  '127.0.0.1.',
  '１２７.0.0.1',
  '①②⑦.0.0.1',
  '127。0。0。1',
  '%31%32%37.0.0.1',
  '%3127.0.0.1',
  '127.0.0.1..',
  '[::1]',
  '[::]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[0:0:0:0:0:ffff:a9fe:a9fe]',
  '[::127.0.0.1]',
  '[fe80::1]',
  '[fd00:ec2::254]',
  '[64:ff9b::7f00:1]',
  '[2002:7f00:1::]',
  '[2606:4700::1111]',
  '93.184.216.34',
];
const names = [
  'localhost',
  'LOCALHOST',
  'localhost.',
  'a.localhost',
  'ⓛocalhost',
  'local\u00adhost',
  'loc%61lhost',
  'localhost..',
  'redis',
  'metadata',
  'metadata.google.internal',
  'metadata.google.internal.',
  'printer.local',
  'a.LOCAL',
  'a%2elocal',
  'a。local',
  'a．internal',
  'router.lan',
  'nas.home',
  'x.home.arpa',
  'vault.corp',
  'redis.default.svc',
  'x.localdomain',
  'kubernetes.default.svc.cluster.local',
  'a..local',
  '.local',
  'a.local..',
  'xn--lcalhost-54a',
  'x.intranet',
  'app.test',
];

test.each([...numbers, ...names])('https://%s/ may not', (host) => {
  expect(problem(`https://${host}/hook`)).toEqual(expect.any(String));
});

test.each([
  'http://hooks.example.com/',
  'HTTP://hooks.example.com/',
  'ftp://hooks.example.com/',
  'https://user:secret@hooks.example.com/',
  'https://user@hooks.example.com/',
  'https://:secret@hooks.example.com/',
  'https://hooks.example.com@127.0.0.1/',
  'https://hooks.example.com:8443/',
  'https://hooks.example.com:80/',
  'https://hooks.example.com:0/',
  'https:127.0.0.1',
  'https:///127.0.0.1/',
  'https:\\\\127.0.0.1\\',
  'ht\ntps://127.0.0.1/',
  ' https://127.0.0.1/',
  'hooks.example.com',
])('%j may not', (url) => {
  expect(problem(url)).toEqual(expect.any(String));
});

test('a refusal holds nothing of a password', () => {
  expect(problem('https://user:secret@hooks.example.com/')).not.toContain('secret');
});

test('hosts that the deployment names are the only ones, private ones and other ports among them', () => {
  const env = {
    TIMESTORE_WEBHOOK_HOSTS: 'hooks.example.com, *.Example.org,hooks.internal:8443,10.0.0.5,[fd00::5]:9443',
  };
  for (const place of [
    'hooks.example.com',
    'a.example.org',
    'a.b.example.org.',
    'hooks.internal:8443',
    '10.0.0.5',
    '0xa.5',
    '[fd00::0:5]:9443',
  ]) {
    expect(problem(`https://${place}/`, env), place).toBeUndefined();
  }
  for (const place of [
    'other.example.com',
    'example.org',
    'notexample.org',
    'a.example.org:8443',
    'hooks.internal',
    'hooks.internal:443',
    '10.0.0.6',
    'hooks.example.com.evil.example',
    'hooks.example.com:8443',
    '[fd00::5]',
    'user@hooks.example.com',
  ]) {
    expect(problem(`https://${place}/`, env), place).toEqual(expect.any(String));
  }
  expect(problem('http://hooks.example.com/', env)).toContain('https://');
});

test.each([
  'https://hooks.example.com',
  'hooks.example.com/path',
  '*',
  '*.*',
  'a*.example.com',
  '10.0.0.0/8',
  'a b',
  '',
  '0x7f.1',
  'a,,b',
])('TIMESTORE_WEBHOOK_HOSTS %j is refused', (hosts) => {
  const env = { TIMESTORE_WEBHOOK_HOSTS: hosts };
  if (hosts === '') expect(readConfig({ ...environment, ...env }).TIMESTORE_WEBHOOK_HOSTS).toBeUndefined();
  else expect(() => readConfig({ ...environment, ...env })).toThrow(/TIMESTORE_WEBHOOK_HOSTS/);
});

test('a local deployment also notifies its own machine, on any port, and no other', () => {
  const env = { TIMESTORE_LOCAL: 'true' };
  for (const url of [
    'http://127.0.0.1:9/',
    'http://localhost:8080/',
    'https://[::1]:8443/',
    'http://app.localhost/',
    'http://127.1/',
  ]) {
    expect(problem(url, env), url).toBeUndefined();
  }
  for (const url of [
    'http://10.0.0.1/',
    'http://169.254.169.254/',
    'http://hooks.example.com/',
    'http://u:p@127.0.0.1/',
    'ftp://127.0.0.1/',
  ]) {
    expect(problem(url, env), url).toEqual(expect.any(String));
  }
});
