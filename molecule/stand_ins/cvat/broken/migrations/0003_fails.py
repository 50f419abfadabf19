"""A migration that fails when half of it is done and cannot be taken back."""

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("cvat_stand_in", "0002_find_shapes")]

    operations = [
        migrations.RunSQL("ALTER TABLE engine_labeledshape DROP COLUMN content"),
        migrations.RunSQL("SELECT 1 / 0"),
    ]
