package servers

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// tlsConfig reads ca, cert, key, server_name and insecure off an address.
func tlsConfig(query url.Values) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: query.Get("server_name")}
	if ca := query.Get("ca"); ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("servers: read certificate authority: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("servers: certificate authority %s holds no PEM certificate", ca)
		}
	}
	cert, key := query.Get("cert"), query.Get("key")
	if (cert == "") != (key == "") {
		return nil, errors.New("servers: a client certificate needs both cert and key")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("servers: client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if raw := query.Get("insecure"); raw != "" {
		insecure, err := strconv.ParseBool(raw)
		if err != nil {
			return nil, fmt.Errorf("servers: insecure=%s: want true or false", raw)
		}
		config.InsecureSkipVerify = insecure
	}
	return config, nil
}

// allowOnly refuses a query parameter that nothing reads: a misspelt ca= would
// otherwise be trusted to be there.
func allowOnly(what string, query url.Values, known ...string) error {
	for name := range query {
		if !slices.Contains(known, name) {
			return fmt.Errorf("servers: %s: unknown parameter %q, want one of %s", what, name, strings.Join(known, ", "))
		}
	}
	return nil
}
