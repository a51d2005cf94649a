// Reads a JSON list of custom resources from standard input; says of each what is wrong with it.
import { readFileSync } from "node:fs";
import { HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1";
import {
  PodMonitor,
  PrometheusRule,
  ServiceMonitor,
} from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

const kinds = { HTTPRoute, PodMonitor, PrometheusRule, ScaledObject, ServiceMonitor };
const faults = JSON.parse(readFileSync(0, "utf-8")).map((resource) => {
  try {
    new kinds[resource.kind](resource).validate();
    return "";
  } catch (error) {
    return error.message;
  }
});
console.log(JSON.stringify(faults));
