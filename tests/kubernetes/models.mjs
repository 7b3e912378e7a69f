// Validates custom resources: reads a JSON list from standard input, prints one line for each that is wrong or unknown.
//
//   node models.mjs NODE_MODULES

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const MODELS = {
  "cert-manager.io/v1": "cert-manager/cert-manager.io/v1/index.js",
  "external-secrets.io/v1": "external-secrets/external-secrets.io/v1/index.js",
  "monitoring.coreos.com/v1": "prometheus-operator/monitoring.coreos.com/v1/index.js",
};

const modules = process.argv[2];
for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  const name = `${resource.kind} ${resource.metadata?.name}`;
  const path = MODELS[resource.apiVersion];
  if (!path) {
    console.log(`${name}: no model of ${resource.apiVersion}`);
    continue;
  }
  const group = await import(pathToFileURL(join(modules, "@kubernetes-models", path)));
  const Model = group[resource.kind];
  if (!Model) {
    console.log(`${name}: ${resource.apiVersion} has no ${resource.kind}`);
    continue;
  }
  const seen = new Map();
  try {
    const model = new Model(resource);
    for (const key of Object.keys(model)) model[key] = watched(resource[key], seen);
    model.validate();
    const unknown = strangers(resource.spec, seen);
    if (unknown) console.log(`${name}: unknown field ${unknown}`);
  } catch (error) {
    console.log(`${name}: ${error.message}`);
  }
}

// The models permit unknown fields, but look at every field that they know: `seen` lists those.
function watched(value, seen) {
  if (value === null || typeof value !== "object") return value;
  if (!seen.has(value)) seen.set(value, new Set());
  return new Proxy(value, {
    get(target, key) {
      seen.get(value).add(key);
      return watched(target[key], seen);
    },
  });
}

// The first field at which no model has looked; an object of which it looked at nothing may hold anything.
function strangers(value, seen) {
  const looked = seen.get(value);
  if (!looked || looked.size === 0) return null;
  for (const key of Object.keys(value)) {
    if (!looked.has(key)) return key;
    const inner = strangers(value[key], seen);
    if (inner) return `${key}.${inner}`;
  }
  return null;
}
