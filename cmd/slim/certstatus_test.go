package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// Certificates whose files are broken while the node runs are told of by metrics, /status.json and slim top, as is a
// reload that fails; a client that has another place in the file keeps its own.
func TestCertificatesThatFailAreShown(t *testing.T) {
	t.Parallel() // beside those that wait
	ca, dir := certstest.NewIssuer(t, "ca", false), t.TempDir()
	cert, key := ca.Pair("node")
	certstest.Write(t, dir, map[string]string{"cert.pem": cert, "key.pem": key, "ca.pem": ca.PEM})
	server := fmt.Sprintf("{endpoint: '127.0.0.1:0', tls: {source: {type: file, cert: %s, key: %s}}}", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	client := func(port int) string {
		return fmt.Sprintf("{endpoint: 'https://127.0.0.1:%d', tls: {ca_source: {type: file, path: %s}}}", port, filepath.Join(dir, "ca.pem"))
	}
	r := startReloading(t, serviceText([]string{server}, []string{client(1), client(2)}), "--health", "0")
	addr := ""
	for _, l := range r.await("admin server started") {
		_, addr, _ = strings.Cut(l, "endpoint=")
	}
	r.await("service started")
	shows := func(path string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			until(t, path+" shows "+want, func() bool {
				_, body := ask(t, addr, path)
				return strings.Contains(body, want)
			})
		}
	}
	top := func(wants ...string) {
		t.Helper()
		c := succeeds(t, "top --once --interval 1ms --addr "+addr)
		for _, want := range wants {
			if !strings.Contains(c.out.String(), want) {
				t.Errorf("slim top does not show %q:\n%s", want, &c.out)
			}
		}
	}
	of := func(client int) string {
		return fmt.Sprintf(`{endpoint="https://127.0.0.1:%d",key="dataplane.clients[%d].tls",service="slim/0"} `, client+1, client)
	}
	const listener = `{endpoint="127.0.0.1:0",key="dataplane.servers[0].tls",service="slim/0"} `
	shows("/metrics", "slim_certificate_last_load_successful"+listener+"1", "slim_certificate_not_after_timestamp_seconds"+listener,
		"slim_certificate_last_load_successful"+of(0)+"1", "slim_certificate_last_load_successful"+of(1)+"1")
	top("CERTIFICATES", "  CN=node\n")

	certstest.Write(t, dir, map[string]string{"key.pem": "broken"})
	r.hangups <- syscall.SIGHUP
	r.await("certificates are not loaded")
	shows("/metrics", "slim_certificate_last_load_successful"+listener+"0", "slim_certificate_load_failures_total"+listener,
		"slim_config_last_reload_successful 1")
	shows("/status.json", `"fault":"source.key: `+dir)
	top("! The certificate of 127.0.0.1:0 (dataplane.servers[0].tls): its files are not loaded, the old ones stay in use: source.key:",
		"CN=node  NOT LOADED since ")

	certstest.Write(t, dir, map[string]string{"key.pem": key})
	r.reload(serviceText([]string{server}, []string{client(2)}), "configuration loaded anew")
	shows("/metrics", "slim_certificate_last_load_successful"+listener+"1",
		`slim_certificate_last_load_successful{endpoint="https://127.0.0.1:2",key="dataplane.clients[0].tls",service="slim/0"} 1`)

	r.write("nonsense: 1")
	r.hangups <- syscall.SIGHUP
	r.await("configuration is not loaded")
	shows("/metrics", "slim_config_last_reload_successful 0")
	top("! The last reload of the configuration failed, at ", "nonsense: ")
}
