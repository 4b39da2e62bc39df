package kafkatest

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Session is how long a broker may be silent before its controller takes it for
// dead, and its partitions have no leader.
const Session = 3 * time.Second

// maxMessageBytes has room for an upload with its photo inside.
const maxMessageBytes = 16 << 20

// Deployment are the broker settings that the project relies on, beside where
// a broker listens and how large it is: every broker of one node that runs it
// has them.
func Deployment() map[string]string {
	return map[string]string{
		"auto.create.topics.enable":                        "false",
		"message.max.bytes":                                strconv.Itoa(maxMessageBytes),
		"replica.fetch.max.bytes":                          strconv.Itoa(maxMessageBytes),
		"group.initial.rebalance.delay.ms":                 "0",
		"offsets.topic.replication.factor":                 "1",
		"transaction.state.log.min.isr":                    "1",
		"transaction.state.log.replication.factor":         "1",
		"share.coordinator.state.topic.min.isr":            "1",
		"share.coordinator.state.topic.replication.factor": "1",
		// A dead instance's open transaction holds up all readers until its
		// timeout and this: 10 s by default.
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
	}
}

// settings are the server.properties of one broker in one folder; extra ones
// win.
func settings(dir string, port, controller int, extra map[string]string) map[string]string {
	client := net.JoinHostPort(loopback, strconv.Itoa(port))
	quorum := net.JoinHostPort(loopback, strconv.Itoa(controller))
	s := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        "1",
		"listeners":                      "PLAINTEXT://" + client + ",CONTROLLER://" + quorum,
		"advertised.listeners":           "PLAINTEXT://" + client,
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":     "PLAINTEXT",
		"controller.listener.names":      "CONTROLLER",
		// Voters by configuration, not in the log: so a folder can be opened
		// again on another port.
		"controller.quorum.voters": "1@" + quorum,
		"log.dirs":                 filepath.Join(dir, "data"),

		// Few partitions of Kafka's own topics, which start sooner.
		"offsets.topic.num.partitions":                 "5",
		"transaction.state.log.num.partitions":         "5",
		"share.coordinator.state.topic.num.partitions": "1",

		// A killed broker's successor is let in when this session has ended: 9 s
		// by default.
		"broker.session.timeout.ms":    strconv.FormatInt(Session.Milliseconds(), 10),
		"broker.heartbeat.interval.ms": "500",

		// A small heap: the cleaner's buffer is 128 MiB by default.
		"log.cleaner.dedupe.buffer.size": strconv.Itoa(16 << 20),
		"log.cleaner.io.buffer.size":     strconv.Itoa(64 << 10),
		"num.network.threads":            "2",
		"num.io.threads":                 "4",
	}
	maps.Copy(s, Deployment())
	maps.Copy(s, extra)
	return s
}

// brokerAlone are the settings of a broker whose controller is another process.
func brokerAlone(port, controller int) map[string]string {
	quorum := net.JoinHostPort(loopback, strconv.Itoa(controller))
	return map[string]string{
		"process.roles":            "broker",
		"listeners":                "PLAINTEXT://" + net.JoinHostPort(loopback, strconv.Itoa(port)),
		"controller.quorum.voters": "2@" + quorum,
	}
}

// controllerSettings are the server.properties of a controller in a folder.
func controllerSettings(dir string, controller int) map[string]string {
	quorum := net.JoinHostPort(loopback, strconv.Itoa(controller))
	return map[string]string{
		"process.roles":                                    "controller",
		"node.id":                                          "2",
		"listeners":                                        "CONTROLLER://" + quorum,
		"listener.security.protocol.map":                   "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"controller.listener.names":                        "CONTROLLER",
		"controller.quorum.voters":                         "2@" + quorum,
		"log.dirs":                                         filepath.Join(dir, "data"),
		"broker.session.timeout.ms":                        strconv.FormatInt(Session.Milliseconds(), 10),
		"broker.heartbeat.interval.ms":                     "500",
		"share.coordinator.state.topic.min.isr":            "1",
		"share.coordinator.state.topic.replication.factor": "1",
	}
}

// properties writes settings in the format of Java's property files.
func properties(s map[string]string) []byte {
	var b strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)
	for _, key := range slices.Sorted(maps.Keys(s)) {
		_, _ = fmt.Fprintf(&b, "%s=%s\n", key, escape.Replace(s[key])) // A Builder takes everything.
	}
	return []byte(b.String())
}

// logSettings are log4j's: warnings, into a file.
func logSettings(file string) map[string]string {
	return map[string]string{
		"status":                       "error",
		"appender.file.type":           "File",
		"appender.file.name":           "file",
		"appender.file.fileName":       file,
		"appender.file.layout.type":    "PatternLayout",
		"appender.file.layout.pattern": "%d{ISO8601} %p %c: %m%n",
		"rootLogger.level":             "warn",
		"rootLogger.appenderRef.a.ref": "file",
		"logger.kafka.name":            "kafka.server.KafkaRaftServer",
		"logger.kafka.level":           "info",
		// What became of a transaction whose end a crash interrupted.
		"logger.transactions.name":  "kafka.coordinator.transaction.TransactionMarkerChannelManager",
		"logger.transactions.level": "info",
	}
}
