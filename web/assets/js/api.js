// Requests to the service. A refusal becomes an error that knows its status, its code and the field it is about.

export class ApiError extends Error {
  constructor(status, problem, fallback) {
    super(problem?.detail ?? problem?.error ?? fallback);
    this.name = 'ApiError';
    this.status = status;
    this.code = problem?.code ?? null;
    this.field = problem?.field ?? null;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ApiError(0, null, 'the service does not answer');
  }
  if (response.ok) return response;
  let problem = null;
  try {
    problem = await response.json();
  } catch {
    // Not every refusal has a body of ours (a proxy, a cut connection): the status says enough.
  }
  throw new ApiError(response.status, problem, `the service answered ${response.status}`);
}

export async function get(path, { signal } = {}) {
  return (await ask(path, { signal, headers: { Accept: 'application/json' } })).json();
}

/** Starts a run that lives on without this page. Answers with its record, or with what the service sent. */
export async function start(path, body) {
  const response = await ask(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Prefer: 'respond-async', 'Openwork-Source': 'page' },
    body: JSON.stringify(body),
  });
  return response.json();
}

/** Changes a resource. Answers with what the service sent. */
export async function patch(path, body) {
  const response = await ask(path, { method: 'PATCH', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  return response.json();
}

export async function cancelRun(id) {
  return (await ask(`/api/v1/runs/${encodeURIComponent(id)}`, { method: 'DELETE' })).json();
}
