import type { Command } from 'commander';
import { CliFailure } from '../../failure.ts';
import { type Io, print } from '../../io.ts';
import { importGatus } from '../../monitor/imports/gatus.ts';
import { type Imported, readForeignFile } from '../../monitor/imports/imported.ts';
import { importPrometheus } from '../../monitor/imports/prometheus.ts';
import { placeText } from '../../monitor/yaml-file.ts';
import { yamlOf } from '../../monitor/yaml-text.ts';

type Convert = (value: Record<string, unknown>, imported: Imported) => void;

const systems: [name: string, description: string, convert: Convert][] = [
  ['gatus', 'convert endpoints, alerts and maintenance windows of Gatus', importGatus],
  ['prometheus', 'convert alert rules of Prometheus to rules over service_metrics', importPrometheus],
];

export function importCommands(monitor: Command, io: Io): void {
  const group = monitor
    .command('import')
    .description(
      'convert a file of another system to YAML for `apply`; exit code 1 if a part has no exact counterpart',
    );
  for (const [name, description, convert] of systems) {
    group
      .command(name)
      .description(description)
      .argument('<file>')
      .action(async (file: string) => {
        const { imported, value } = await readForeignFile(file);
        convert(value, imported);
        await print(io.stdout, yamlOf(imported.resources, { keepsReferences: true }));
        const { unmapped } = imported;
        if (unmapped.length === 0) return;
        const lines = unmapped.map(({ place, message }) => `${placeText(place)}: ${message}\n`);
        await print(io.stderr, lines.join(''));
        throw new CliFailure(`${unmapped.length} parts are not imported as they are.`);
      });
  }
}
