"""What a database of 2.72 lacks: an index by which a job's shapes are found."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("cvat_stand_in", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "CREATE INDEX found_by_job ON engine_labeledshape (job_id, kind)",
            "DROP INDEX found_by_job",
        ),
    ]
