// report-reader reads a policy report as programs that show reports do: into the Go types that the makers of the two
// kinds publish, strictly, so that a field which no type has is an error. It writes what it has understood as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	policyreport "github.com/kyverno/kyverno/api/policyreport/v1alpha2"
	openreports "github.com/openreports/reports-api/apis/openreports.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

type understood struct {
	Namespace string         `json:"namespace"`
	Summary   map[string]int `json:"summary"`
	Results   []result       `json:"results"`
}

type result struct {
	Source     string            `json:"source"`
	Policy     string            `json:"policy"`
	Rule       string            `json:"rule"`
	Result     string            `json:"result"`
	Severity   string            `json:"severity"`
	Message    string            `json:"message"`
	Resources  []string          `json:"resources"`
	Properties map[string]string `json:"properties"`
	Seconds    int64             `json:"seconds"`
}

func main() {
	document, err := io.ReadAll(os.Stdin)
	if err == nil {
		var read understood
		if read, err = understand(document); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(read)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func understand(document []byte) (understood, error) {
	var kind struct {
		Kind string `json:"kind"`
	}
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return understood{}, err
	}
	if kind.Kind == "Report" {
		return openReport(document)
	}
	return policyReport(document)
}

func openReport(document []byte) (understood, error) {
	var report openreports.Report
	if err := yaml.UnmarshalStrict(document, &report); err != nil {
		return understood{}, err
	}
	s := report.Summary
	read := understood{report.Namespace, summary(s.Pass, s.Fail, s.Warn, s.Error, s.Skip), nil}
	for _, each := range report.Results {
		read.Results = append(read.Results, result{
			each.Source, each.Policy, each.Rule, string(each.Result), string(each.Severity), each.Description,
			named(each.Subjects), each.Properties, each.Timestamp.Seconds,
		})
	}
	return read, nil
}

func policyReport(document []byte) (understood, error) {
	var report policyreport.PolicyReport
	if err := yaml.UnmarshalStrict(document, &report); err != nil {
		return understood{}, err
	}
	s := report.Summary
	read := understood{report.Namespace, summary(s.Pass, s.Fail, s.Warn, s.Error, s.Skip), nil}
	for _, each := range report.Results {
		read.Results = append(read.Results, result{
			each.Source, each.Policy, each.Rule, string(each.Result), string(each.Severity), each.Message,
			named(each.Resources), each.Properties, each.Timestamp.Seconds,
		})
	}
	return read, nil
}

func summary(pass, fail, warn, failed, skip int) map[string]int {
	return map[string]int{"pass": pass, "fail": fail, "warn": warn, "error": failed, "skip": skip}
}

func named(resources []corev1.ObjectReference) []string {
	names := []string{}
	for _, each := range resources {
		names = append(names, each.Kind+" "+each.Namespace+"/"+each.Name)
	}
	return names
}
