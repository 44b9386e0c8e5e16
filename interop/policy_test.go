//go:build interop

package interop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// judged is a policy of the table that package policy is tested with, and who passes: a letter for each of the claims, or a word.
type judged struct {
	kind, text     string // kind is the key of `policy`
	upstream, ours string
}

// policyTable reads the table: claims as JSON, in order, and policies.
func policyTable(t *testing.T) (claims []string, policies []judged) {
	t.Helper()
	table, err := os.ReadFile("../internal/auth/policy/testdata/policies.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		verdict, text, _ := strings.Cut(rest, " ")
		j := judged{kind: kind, text: strings.ReplaceAll(text, "⏎", "\n")}
		var differs bool
		if j.upstream, j.ours, differs = strings.Cut(verdict, "/"); !differs {
			j.ours = j.upstream
		}
		switch kind {
		case "claims":
			claims = append(claims, text)
		case "rego":
			j.text = "package slim.auth\n" + j.text
			policies = append(policies, j)
		case "module":
			j.kind = "rego"
			policies = append(policies, j)
		case "cel":
			policies = append(policies, j)
		}
	}
	return claims, policies
}

const policySecret = "not-a-secret-but-32-bytes-long!!"

// signed is a token over claims, a JSON object, of issuer slim that is good for an hour.
func signed(claims string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	own := fmt.Sprintf(`{"iss":"slim","exp":%d`, time.Now().Unix()+3600)
	if claims != "{}" {
		own += ","
	}
	text := b64([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + b64([]byte(own+strings.TrimPrefix(claims, "{")))
	mac := hmac.New(sha256.New, []byte(policySecret))
	mac.Write([]byte(text))
	return text + "." + b64(mac.Sum(nil))
}

// judging is a node with a listener for each of policies.
func judging(t *testing.T, k kind, policies []judged) (p *process, urls []string) {
	t.Helper()
	var servers []any
	for _, j := range policies {
		address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		urls = append(urls, "http://"+address)
		servers = append(servers, map[string]any{
			"endpoint": address,
			"tls":      map[string]any{"insecure": true},
			"auth": map[string]any{
				"type": "jwt", "claims": map[string]any{"issuer": "slim"},
				"key":    map[string]any{"type": "decoding", "algorithm": "HS256", "format": "pem", "key": map[string]any{"data": policySecret}},
				"policy": map[string]any{j.kind: j.text},
			},
		})
	}
	config, err := json.Marshal(map[string]any{
		"tracing":  map[string]any{"log_level": "info"},
		"services": map[string]any{"slim/0": map[string]any{"dataplane": map[string]any{"servers": servers}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	return spawn(t, string(k)+" with policies", nil, k.program(t), "--config", file), urls
}

// ask returns the status of a request for nothing by a listener, which is judged like any other; 0: there is no answer.
func ask(t *testing.T, c *http.Client, url, token string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(within(t), http.MethodPost, url+"/slim.test/Nothing", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/grpc")
	answer, err := c.Do(r)
	if err != nil {
		return 0
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

// started waits until a node listens at url; false: it has ended.
func (p *process) started(t *testing.T, c *http.Client, url string) bool {
	t.Helper()
	end := time.After(limit)
	for {
		if ask(t, c, url, "") != 0 {
			return true
		}
		select {
		case <-p.done:
			return false
		case <-end:
			t.Fatalf("%s neither listens nor ends", p.label)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Upstream's node, by gRPC, answers every policy of the table as that says, so that what is a difference of ours is one: the other half is
// TestTable of package policy.
func TestPolicies(t *testing.T) {
	t.Parallel()
	claims, policies := policyTable(t)
	for _, k := range []kind{upstream, ours} {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			var start, refused []judged
			for i, j := range policies {
				want := j.upstream
				if k == ours {
					want = j.ours
				}
				if os.Getenv("SLIMGO_TEST_LONG") == "" && i%9 != 0 && j.upstream == j.ours {
					continue
				}
				if j.upstream = want; strings.Trim(want, "Ad") == "" {
					start = append(start, j)
				} else {
					refused = append(refused, j)
				}
			}
			for len(start) > 0 {
				n := min(len(start), 50)
				judgedAs(t, k, claims, start[:n])
				start = start[n:]
			}
			if os.Getenv("SLIMGO_TEST_LONG") == "" { // upstream's takes seconds to end, and package policy has seen all of ours
				refused = refused[:min(10, len(refused))]
			}
			for i, j := range refused { // most of the time they wait for upstream's to end
				t.Run(fmt.Sprint("refused ", i), func(t *testing.T) {
					t.Parallel()
					notStarted(t, k, j)
				})
			}
		})
	}
}

// plainHTTP2 is a client that speaks HTTP/2 without TLS.
func plainHTTP2(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// judgedAs checks who passes policies that a node starts with.
func judgedAs(t *testing.T, k kind, claims []string, policies []judged) {
	t.Helper()
	c := plainHTTP2(t)
	p, urls := judging(t, k, policies)
	defer p.kill()
	if !p.started(t, c, urls[len(urls)-1]) {
		t.Fatalf("%s has not started with policies that it was seen to start with:\n%s", k, p.tail())
	}
	for i, j := range policies {
		got := ""
		for range 3 { // a policy has a second of the clock, which a busy machine may take from it
			got = ""
			for _, claim := range claims {
				switch status := ask(t, c, urls[i], signed(claim)); status {
				case http.StatusOK:
					got += "A"
				case http.StatusForbidden:
					got += "d"
				default:
					got += fmt.Sprintf("(%d)", status)
				}
			}
			if !onlyRefusesMore(got, j.upstream) {
				break
			}
		}
		if got != j.upstream {
			t.Errorf("%s %s: %s, want %s", j.kind, j.text, got, j.upstream)
		}
	}
}

// onlyRefusesMore reports whether something is refused that should not be, or was not judged in time, and nothing else is
// wrong.
func onlyRefusesMore(got, want string) bool {
	if strings.Contains(got, "(503)") {
		return true
	}
	if got == want || len(got) != len(want) {
		return false
	}
	for i := range want {
		if got[i] != want[i] && !(got[i] == 'd' && want[i] == 'A') {
			return false
		}
	}
	return true
}

// notStarted checks that a node does not live with a policy: it says so and ends, or ends at the first request.
func notStarted(t *testing.T, k kind, j judged) {
	t.Helper()
	c := plainHTTP2(t)
	p, urls := judging(t, k, []judged{j})
	defer p.kill()
	if j.upstream == "crash" && p.started(t, c, urls[0]) {
		ask(t, c, urls[0], signed("{}"))
	}
	select {
	case <-p.done:
	case <-time.After(limit):
		t.Errorf("%s %s: %s lives on", j.kind, j.text, k)
		return
	}
	if said := p.count("policy compilation failed") > 0; said != (j.upstream == "start") {
		t.Errorf("%s %s: %s has ended, and the log says why: %v", j.kind, j.text, k, said)
	}
}
