// istio-generator says what istiod gives a proxy, without a cluster and without istiod.
//
// It is a long-lived process: a request as JSON on each line of standard input, an answer as JSON on each line of
// standard output, in the order in which the answers are ready (each has the id of its request). Objects are validated
// as istiod's webhook validates them, and those that it rejects are left out; listeners, routes and clusters come from
// istiod's own generator. Types are in protocol.go.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sync"

	"istio.io/istio/pkg/kube/krt"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/test"
)

// Requests at the same time: a world takes longer to be ready than it takes of a core.
const atOnce = 4

func main() {
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	// Every collection of every world would be kept for a debugging page that is not served here.
	krt.GlobalDebugHandler = nil
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "istio-generator:", err)
		os.Exit(1)
	}
}

func serve() error {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	answers := json.NewEncoder(os.Stdout)
	answers.SetEscapeHTML(false)
	var writing sync.Mutex
	var running sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) == 0 || err != nil {
			running.Wait()
			return nil
		}
		var asked Request
		if err := json.Unmarshal(line, &asked); err != nil {
			return fmt.Errorf("no request: %w", err)
		}
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			given := answer(asked)
			writing.Lock()
			defer writing.Unlock()
			if err := answers.Encode(given); err != nil {
				os.Exit(1) // nobody reads any more
			}
		})
	}
}

func answer(asked Request) Answer {
	given := Answer{ID: asked.ID, Rejected: []Rejected{}, Proxies: []Description{}}
	err := test.Wrap(func(t test.Failer) {
		defer func() {
			if failure := recover(); failure != nil {
				given.Error = fmt.Sprintf("panic: %v\n%s", failure, debug.Stack())
			}
		}()
		world := newWorld(t, asked)
		given.Rejected = world.rejected
		for _, proxy := range asked.Proxies {
			given.Proxies = append(given.Proxies, world.describe(proxy, asked.Verbose))
		}
	})
	if err != nil && given.Error == "" {
		given.Error = err.Error()
	}
	return given
}
