import { expect, test } from 'vitest';
import { resolvedProblem, socketProblem, urlProblem } from '../../../src/monitoring/checks/guard.ts';

const deployed = {
  TIMESTORE_LOCAL: false,
  TIMESTORE_MONITOR_PRIVATE: false,
  TIMESTORE_MONITOR_OWN_HOSTS: ['timestore.example.com'],
};
const local = { ...deployed, TIMESTORE_LOCAL: true };
const inPrivate = { ...local, TIMESTORE_MONITOR_PRIVATE: true };

test.each([
  'http://2130706433/',
  'http://0x7f.1/',
  'http://0177.0.0.1/',
  'http://127.1/',
  'http://①②⑦.0.0.1/',
  'http://[::1]/',
  'http://[::ffff:169.254.169.254]/',
  'http://169.254.169.254/latest/meta-data',
  'http://localhost./',
  'http://localhost/',
  'http://a.localhost/',
  'http://100.100.100.200/',
  'http://[fd00:ec2::254]/',
  'http://[64:ff9b::a00:1]/',
  'http://10.0.0.1/',
  'http://0.0.0.0/',
  'http://224.0.0.1/',
  'http://metadata.google.internal/',
  'http://printer.local/',
  'http://intranet/',
  'https://timestore.example.com/health',
  'https://TIMESTORE.example.com./health',
  'https://8.8.8.8/',
  'ftp://example.com/',
  'file:///etc/passwd',
  'javascript:1',
  'https://example.com:22/',
  'https://example.com:6379x/',
  'no url',
  '',
])('%s is no target of a deployment', (url) => {
  expect(urlProblem(url, deployed)).toEqual(expect.any(String));
});

test.each([
  'https://example.com/',
  'http://example.com:8080/a?b=c',
  'https://api.example.co.uk:443/',
  'https://example.com./',
])('%s is a target', (url) => {
  expect(urlProblem(url, deployed)).toBeUndefined();
});

test('a local deployment may check its own machine, and no other private address', () => {
  for (const url of ['http://127.0.0.1:8123/', 'http://localhost:3000/', 'http://[::1]:3000/', 'http://0x7f.1:3000/']) {
    expect(urlProblem(url, local)).toBeUndefined();
  }
  for (const url of ['http://10.0.0.1/', 'http://192.168.1.1/', 'http://[fd00::1]/', 'http://printer.local/']) {
    expect(urlProblem(url, local)).toEqual(expect.any(String));
    expect(urlProblem(url, inPrivate)).toBeUndefined();
  }
});

test('the address with the keys of a cloud machine is never a target', () => {
  for (const host of ['169.254.169.254', '[::ffff:169.254.169.254]', '[fe80::1]', '0.0.0.0']) {
    expect(urlProblem(`http://${host}/`, inPrivate)).toBe('its address is not public');
  }
});

test('sockets: hosts and ports', () => {
  expect(socketProblem('example.com', 22, deployed)).toBeUndefined();
  expect(socketProblem('8.8.8.8', 53, deployed)).toBeUndefined();
  expect(socketProblem('2001:4860:4860::8888', 53, deployed)).toBeUndefined();
  for (const [host, port] of [
    ['example.com', 25],
    ['127.0.0.1', 80],
    ['::1', 80],
    ['fd00::1', 80],
    ['0x7f.1', 80],
    ['example.com/x', 80],
    ['a@example.com', 80],
    ['example.com:22', 80],
    ['', 80],
  ] as const) {
    expect(socketProblem(host, port, deployed)).toEqual(expect.any(String));
  }
});

test('each address of a name is judged', () => {
  expect(resolvedProblem('93.184.216.34', deployed)).toBeUndefined();
  expect(resolvedProblem('10.0.0.1', deployed)).toEqual(expect.any(String));
  expect(resolvedProblem('::ffff:10.0.0.1', deployed)).toEqual(expect.any(String));
  expect(resolvedProblem('alias.example.com', deployed)).toBeUndefined();
});
