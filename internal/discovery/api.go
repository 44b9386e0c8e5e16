package discovery

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/watch"
)

// API is the API server of the cluster that the process is in, with the credentials that its pod has. Token and certificates
// of authorities are read again for each request: both are replaced while the process runs. Used by one Source.
type API struct {
	Server    string // https://HOST:PORT
	TokenFile string
	CAFile    string

	client *http.Client // by the authorities ca
	ca     []byte
}

// serviceAccount is where a pod finds its credentials.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"

// maxCredentials bounds the files of credentials, in bytes.
const maxCredentials = 1 << 20

// InCluster returns the API server as the environment of a pod tells of it.
func InCluster(env func(string) (string, bool)) (*API, error) {
	host, _ := env("KUBERNETES_SERVICE_HOST")
	port, _ := env("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("this is no pod of a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
	}
	return &API{Server: "https://" + net.JoinHostPort(host, port), TokenFile: serviceAccount + "token", CAFile: serviceAccount + "ca.crt"}, nil
}

// get asks for a path and returns the body of the answer, which the caller closes; errGone if the answer is 410.
func (a *API) get(ctx context.Context, path string, q url.Values) (io.ReadCloser, error) {
	token, err := credential(a.TokenFile)
	if err != nil {
		return nil, err
	}
	if err := a.trust(); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Server+path+"?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	req.Header.Set("Accept", "application/json")
	res, err := a.client.Do(req)
	if err != nil {
		return nil, withoutQuery(err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer func() { _ = res.Body.Close() }()
	x := status{Message: res.Status}
	if b, err := io.ReadAll(io.LimitReader(res.Body, 64<<10)); err == nil {
		_ = json.Unmarshal(b, &x) // a proxy in front answers with something else
	}
	x.Code = res.StatusCode
	return nil, x.error()
}

// withoutQuery shortens the error of a request, whose URL is as long as the token of a page.
func withoutQuery(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return fmt.Errorf("API server of Kubernetes: %w", e.Err)
	}
	return err
}

// trust makes a client that trusts the authorities of the file as it is now.
func (a *API) trust() error {
	ca, err := credential(a.CAFile)
	if err != nil {
		return err
	}
	if a.client != nil && bytes.Equal(ca, a.ca) {
		return nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("%s holds no certificate", a.CAFile)
	}
	if a.client != nil {
		a.client.CloseIdleConnections()
	}
	a.ca = ca
	a.client = &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: kubeTimeout}).DialContext,
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: kubeTimeout, ResponseHeaderTimeout: kubeTimeout, IdleConnTimeout: time.Minute,
			ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { // the token is for the server alone
			return http.ErrUseLastResponse
		},
	}
	return nil
}

func credential(file string) ([]byte, error) {
	b, err := watch.Read(file, maxCredentials)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return b, nil
}
