/** How the daemon is started at boot where the user has no systemd. */

import { quoteForPeople as quote } from '../../execution/quote.ts'

/** Text for a person; `user` is who the daemon is to run as. */
export function elsewhere(launcher: string, user: string, home: string): string {
  const program = quote(launcher)
  return `No systemd runs for ${user} here. Whatever starts services here can start kappa; it stays in the foreground, writes its log
to stderr, ends by SIGTERM and reads its configuration again on SIGHUP:

  ${program} daemon

cron, without root (crontab -e):
  @reboot ${program} daemon

OpenRC, as root: /etc/init.d/kappa, then: chmod +x /etc/init.d/kappa; rc-update add kappa; rc-service kappa start
  #!/sbin/openrc-run
  supervisor=supervise-daemon
  command=${program}
  command_args=daemon
  command_user=${quote(user)}
  output_log=/var/log/kappa.log
  error_log=/var/log/kappa.log

runit, as root: /etc/sv/kappa/run, then: chmod +x /etc/sv/kappa/run; ln -s /etc/sv/kappa /var/service/
  #!/bin/sh
  exec 2>&1
  exec chpst -u ${quote(user)} env HOME=${quote(home)} ${program} daemon`
}
