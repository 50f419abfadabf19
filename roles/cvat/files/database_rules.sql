-- A line for each rule that lets others in without a password, and one where the password is kept in an old form.
select concat_ws(' ', auth_method, 'from', address)
from pg_hba_file_rules
where type like 'host%' and auth_method = 'trust' and address not in ('127.0.0.1', '::1')
union all
select 'a password that is no SCRAM'
from pg_authid
where rolname = 'cvat' and rolpassword not like 'SCRAM-SHA-256$%'
