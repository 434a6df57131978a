#!/bin/sh
# Publish one application with kcat:  sh examples/producers/kcat.sh HOST:PORT [APPLICANT]
# librdkafka partitions by another hash unless it is told: partitioner=murmur2_random is needed, else
# most records become dead letters with the reason wrong_partition.
set -eu
broker=$1
applicant=${2:-p1}
printf '%s|{"type":"application","id":"%s","applicant":"%s","at":%s000,"product":"cash_line","channel":"app","amount_cents":300000,"tenor_days":30,"age_years":35,"income_cents":900000}\n' \
	"$applicant" "k$(date +%s)$$" "$applicant" "$(date +%s)" |
	kcat -P -b "$broker" -t dipper.events -K '|' -X partitioner=murmur2_random
