/** How long and how large the measurements are. */
export type Scale = {
  rounds: number;
  seconds: number;
  storedRows: number;
  /** Of the burst that ClickHouse's load is compared by. */
  loadRows: number;
  probes: number;
  growth: { tails: number[]; lanes: number[]; datasets: number[]; stored: number[] };
  exportRows: number;
};

export const full: Scale = {
  rounds: 5,
  seconds: 3,
  storedRows: 20_000_000,
  loadRows: 1_000_000,
  probes: 60,
  exportRows: 5_000_000,
  growth: {
    tails: [100, 1_000, 5_000, 10_000, 25_000, 50_000],
    lanes: [1, 2, 4, 8, 16],
    datasets: [1, 10, 100, 1_000],
    stored: [1_000_000, 5_000_000, 20_000_000, 50_000_000],
  },
};

/** Some ten minutes. */
export const short: Scale = {
  rounds: 3,
  seconds: 1,
  storedRows: 2_000_000,
  loadRows: 50_000,
  probes: 30,
  exportRows: 500_000,
  growth: { tails: [100, 5_000], lanes: [1, 4], datasets: [1, 20], stored: [1_000_000, 2_000_000] },
};
