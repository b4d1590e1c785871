// idle-webhook is an admission webhook that decides nothing: a measure of what any webhook costs.
//
// It takes the flags of `serviceentry-guard webhook` that say where it serves, and is started, asked and stopped as
// that is: `idle-webhook webhook --tls-cert-file=… --tls-private-key-file=… --port=… --health-port=…`.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID string `json:"uid"`
}

type response struct {
	UID       string `json:"uid"`
	Allowed   bool   `json:"allowed"`
	PatchType string `json:"patchType,omitempty"`
	// Bytes are written in base64, as a patch has to be.
	Patch []byte `json:"patch,omitempty"`
}

func main() {
	flags := flag.NewFlagSet("idle-webhook webhook", flag.ExitOnError)
	certificate := flags.String("tls-cert-file", "", "the serving certificate")
	key := flags.String("tls-private-key-file", "", "its private key")
	address := flags.String("bind-address", "127.0.0.1", "where both ports are")
	port := flags.String("port", "", "of /mutate and /validate, over TLS")
	health := flags.String("health-port", "", "of /readyz, without TLS")
	patch := flags.String("patch", "", "a JSON Patch that /mutate answers, whatever it is asked")
	flags.Parse(os.Args[2:])

	http.HandleFunc("POST /mutate", answer([]byte(*patch)))
	http.HandleFunc("POST /validate", answer(nil))
	listener, err := net.Listen("tcp", *address+":"+*port)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		log.Fatal(http.ServeTLS(listener, nil, *certificate, *key))
	}()
	probes := http.NewServeMux()
	probes.HandleFunc("GET /readyz", func(writer http.ResponseWriter, _ *http.Request) { io.WriteString(writer, "ok") })
	log.Fatal(http.ListenAndServe(*address+":"+*health, probes))
}

func answer(patch []byte) http.HandlerFunc {
	return func(writer http.ResponseWriter, asked *http.Request) {
		var given review
		if err := json.NewDecoder(asked.Body).Decode(&given); err != nil || given.Request == nil {
			http.Error(writer, "no AdmissionReview", http.StatusBadRequest)
			return
		}
		allowed := response{UID: given.Request.UID, Allowed: true, Patch: patch}
		if len(patch) > 0 {
			allowed.PatchType = "JSONPatch"
		}
		writer.Header().Set("Content-Type", "application/json")
		json.NewEncoder(writer).Encode(review{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview", Response: &allowed})
	}
}
