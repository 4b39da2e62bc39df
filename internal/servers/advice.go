package servers

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kerr"
)

// kafkaRights are the codes of a right that is missing, and what to allow; PREFIX is
// the one of a deployment's names. docs/security.md has the whole list.
var kafkaRights = []struct {
	code  *kerr.Error
	allow string
}{
	{kerr.TopicAuthorizationFailed, "Read, Write, Describe and DescribeConfigs on the deployment's topics and on those with the prefix PREFIX, and Create while one is missing"},
	{kerr.GroupAuthorizationFailed, "Read and Describe on the groups with the prefix PREFIX"},
	{kerr.TransactionalIDAuthorizationFailed, "Write and Describe on the transactional ids with the prefix PREFIX"},
	{kerr.ClusterAuthorizationFailed, "Write on the topics that it sends to, or IdempotentWrite on the cluster"},
}

// The codes of ClickHouse for who may not come in, and for what a user may not do.
var (
	strangers = []int32{192, 193, 194, 195, 516, 720}
	forbidden = []int32{164, 497}
)

// Refused reports whether a server refused a user, or what the user asked for.
func Refused(err error) bool {
	for _, right := range kafkaRights {
		if errors.Is(err, right.code) {
			return true
		}
	}
	return errors.Is(err, kerr.SaslAuthenticationFailed) || hasCode(err, strangers) || hasCode(err, forbidden)
}

// hasCode reports whether err is an answer of ClickHouse with one of some codes.
func hasCode(err error, codes []int32) bool {
	answer, ok := errors.AsType[*clickhouse.Exception](err)
	return ok && slices.Contains(codes, answer.Code)
}

// Advise adds to the error of a deployment whose user a server refused which
// right to give it. The names of the deployment begin with prefix.
func (k *Kafka) Advise(err error, prefix string) error {
	user := "this client, which names no user,"
	if k.user != "" {
		user = "the user " + k.user
	}
	for _, right := range kafkaRights {
		if errors.Is(err, right.code) {
			return fmt.Errorf("%w; allow %s at %s %s", err, user, k, strings.ReplaceAll(right.allow, "PREFIX", prefix))
		}
	}
	if hasCode(err, strangers) || hasCode(err, forbidden) {
		return AdviseClickHouse(err)
	}
	return err
}

// KafkaHint is what to look at where a cluster answers with err alone.
func KafkaHint(err error) string {
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "are the user in --kafka and TINTYPE_KAFKA_PASSWORD right?"
	case wrongCertificate(err):
		return "is ca= in --kafka the authority of its certificate, and is the host (or server_name=) a name in it?"
	}
	return "does it run (tintype dev), and is --kafka right?"
}

// AdviseClickHouse adds to the error of a server what to look at.
func AdviseClickHouse(err error) error {
	_, answered := errors.AsType[*clickhouse.Exception](err)
	switch {
	case err == nil:
		return nil
	case hasCode(err, strangers):
		return fmt.Errorf("%w; are the user in --clickhouse and TINTYPE_CLICKHOUSE_PASSWORD right?", err)
	case hasCode(err, forbidden):
		return fmt.Errorf("%w; grant the user in --clickhouse SELECT, INSERT, CREATE TABLE, ALTER and DROP on its database", err)
	case answered:
		return err
	case wrongCertificate(err):
		return fmt.Errorf("%w; is ca= in --clickhouse the authority of its certificate, and is the host (or server_name=) a name in it?", err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%w; does the port speak TLS as --clickhouse says (clickhouse+tls://, by custom 9440) or does it not (clickhouse://, 9000)?", err)
	}
	return fmt.Errorf("%w; does it run (tintype dev), and is --clickhouse right?", err)
}

func wrongCertificate(err error) bool {
	_, wrong := errors.AsType[*tls.CertificateVerificationError](err)
	return wrong
}
