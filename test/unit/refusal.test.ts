import { expect, test } from 'vitest';
import { readConfig } from '../../src/core/config.ts';
import { type ErrorCode, errorCatalogue } from '../../src/core/errors.ts';
import { queryError } from '../../src/query/execution/clickhouse-errors.ts';
import { ClickHouseError } from '../../src/stores/clickhouse/client.ts';
import { environment } from './schema/support.ts';

const ctx = { config: readConfig(environment) } as Parameters<typeof queryError>[0];

const eof = 'Attempt to read after eof';
const kind = '(ATTEMPT_TO_READ_AFTER_EOF) (version 26.7.2.1)';

test.each([
  ['a value is cut off', `${eof}: while converting '' to UInt8: while executing 'FUNCTION CAST'. ${kind}`, 400],
  [
    'a value on another server is cut off',
    `Received from 127.0.0.1:9002. DB::Exception: ${eof}: while converting '' to UInt8. ${kind}: While executing Remote. ${kind}`,
    400,
  ],
  ['another server ends', `${eof}: while receiving packet from 127.0.0.1:9002. ${kind}`, 503],
  ['another server ends while its rows are read', `${eof}: While executing Remote. ${kind}`, 503],
])('where %s, that is what is wrong', (_, message, status) => {
  const error = new ClickHouseError(32, `Code: 32. DB::Exception: ${message}`);
  expect(errorCatalogue[queryError(ctx, error).code as ErrorCode].status).toBe(status);
});
